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

// The gradient of weights w (panels of a k x n matrix in dtype): the sum of `count` products of a transposed batch
// (k x depth) and a right operand, plus w diag(columns) where columns (n numbers) is not null. A weight that several
// layers share has several products.

// out (panels) = that gradient + beta out. w is read only with columns.
struct DenseWeight {
    int64_t k, n;
    const Product* products;
    int64_t count;
    const void *w, *columns;
    double beta;
    void* out;
    DType dtype, format;
};

// The step of an optimiser on w, the p of the one slice of `step`, along that gradient plus the g of the slice where
// that is not null. dtype is that of `step`.
struct DenseUpdate {
    int64_t k, n;
    const Product* products;
    int64_t count;
    const void* columns;
    Optimise step;
    DType dtype, format;
};

}  // namespace unsupfast
