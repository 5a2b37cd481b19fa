// Losses of an output layer against a target.
#pragma once
#include "kernels/gemm/op.h"

namespace unsupfast {

// What the output z of a network means for a target x, and its loss:
//   squared               z is the prediction:    (z - x)^2
//   bernoulli             z is the logit:          softplus(z) - x z, the cross-entropy
//   continuous_bernoulli  z is the logit:          A(z) - x z with A(z) = log((exp(z) - 1) / z), the density on
//                         [0, 1] (Loaiza-Ganem and Cunningham, NeurIPS 2019)
//   categorical           z are logits of classes: log sum exp(z) - sum x z for rows x that sum to 1
enum class Loss : int { squared, bernoulli, continuous_bernoulli, categorical };

// value[i] = the loss of row i summed over its columns; grad = scale row_scale[i] dvalue[i]/dz. z and grad are m x n,
// x is m / repeat x n: `repeat` rows of z that follow each other share a target. Null pointers switch an item off.
struct Likelihood {
    int64_t m, n;
    const void *z, *x;
    int64_t repeat;
    Loss loss;
    double scale;
    const void* row_scale;
    void *value, *grad;
    DType dtype;
};

}  // namespace unsupfast
