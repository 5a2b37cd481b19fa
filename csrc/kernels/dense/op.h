// Dense layers. Weights are kept as column panels (gemm/op.h) in dtype: a k x n matrix is an array of shape
// (panels(n), k, 32) whose padding is zero. What is turned or rounded for a product is made on the way in,
// layer after layer in the same scratch memory, so nothing has to be kept in step with the weights.
#pragma once
#include "kernels/gemm/op.h"
#include "kernels/optim/op.h"

namespace unsupfast {

// Every derivative is a function of the output alone, so that only outputs are kept for the gradient.
enum class Activation : int { identity, sigmoid, tanh, relu, leaky_relu, elu, softplus };
static constexpr double kLeakySlope = 0.01;

// y (m x n, row-major) = act(x w + bias). x is m x k; w are panels of a k x n matrix, or of its n x k transpose
// (`turned`). bias may be null. With w turned and neither bias nor activation, this is the input gradient.
struct Dense {
    int64_t m, n, k;
    Left x;
    const void* w;
    bool turned;
    const void* bias;
    Activation act;
    void* y;
    DType dtype, format;
};

// z = g act'(y), g, y and z m x n and row-major. Any of: `rows` = z in row-major order, `panels` = z as a right
// operand in `format`, `sums` = the sums of its columns, rows in order. y may be null for the identity.
struct Gate {
    int64_t m, n;
    const void *g, *y;
    Activation act;
    void *rows, *panels, *sums;
    DType dtype, format;
};

// w (panels of a k x n matrix in dtype) = x right + beta w. x is k x m: a transposed batch; right: m x n panels.
struct DenseWeight {
    int64_t k, n, m;
    Left x;
    const void* right;
    double beta;
    void* w;
    DType dtype, format;
};

// The step of an optimiser on weights (panels of a k x n matrix) whose gradient is x right, plus the g of the one
// slice of `step` where that is not null. dtype is that of `step`.
struct DenseUpdate {
    int64_t k, n, m;
    Left x;
    const void* right;
    Optimise step;
    DType dtype, format;
};

}  // namespace unsupfast
