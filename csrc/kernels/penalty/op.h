// Penalties on what a layer does.
#pragma once
#include "kernels/dense/op.h"

namespace unsupfast {

// out[j] = sum_i w_ij^2 for panels of a k x n matrix.
struct ColumnNorms {
    int64_t k, n;
    const void* w;
    void* out;
    DType dtype;
};

// The squared Frobenius norm of a dense layer's Jacobian, from its outputs h = act(z) (m x n) and the squared norms
// of its weights' columns:
//   value[i] = sum_j act'(z_ij)^2 norms_j,   by_h = scale dvalue[i]/dh_ij,   by_norms[j] = scale sum_i act'(z_ij)^2
struct Contraction {
    int64_t m, n;
    const void *h, *norms;
    Activation act;
    double scale;
    void *value, *by_h, *by_norms;
    DType dtype;
};

}  // namespace unsupfast
