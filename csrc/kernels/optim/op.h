// Gradient descent.
#pragma once
#include "kernels/gemm/op.h"

namespace unsupfast {

// With g the gradient, first times `scale`, then cut to [-limit, limit] (0: not cut), then (all but adamw) + decay p:
//   sgd      p -= rate g
//   momentum m = beta1 m + g;                          p -= rate m, or rate (g + beta1 m) with nesterov
//   rmsprop  v = beta2 v + (1 - beta2) g^2;            p -= rate g / (sqrt(v) + eps)
//   adam     m = beta1 m + (1 - beta1) g, v as above;  p -= rate (m / c1) / (sqrt(v / c2) + eps)
//   adamw    as adam, after p -= rate decay p
// with c1 = 1 - beta1^step, c2 = 1 - beta2^step: Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019.
enum class Rule : int { sgd, momentum, rmsprop, adam, adamw };

struct Slice {
    int64_t n;
    void* p;
    const void* g;
    void *m, *v;
    double decay;
};

// *nonfinite is set to 1 if any new p is Inf or NaN. What changes from step to step may lie in memory, for work that is
// recorded once and done often: `live` holds {rate, rate / c1, 1 / c2}, `factor` (of dtype) multiplies scale.
struct Optimise {
    const Slice* slices;
    int64_t count;
    Rule rule;
    bool nesterov;
    double rate, beta1, beta2, eps, c1, c2, scale, limit;
    int32_t* nonfinite;
    DType dtype;
    const double* live = nullptr;
    const void* factor = nullptr;
};

}  // namespace unsupfast
