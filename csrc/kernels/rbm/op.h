// The two products a restricted Boltzmann machine is trained with.
#pragma once
#include "kernels/gemm/op.h"

namespace unsupfast {

enum class Unit : int { bernoulli, gaussian, spin, relu, drelu, softmax, multinomial };  // kernels/units/op.h

// Names a block of random numbers: see philox.h for the layout of the counter.
struct Draw {
    uint64_t seed = 0;
    uint32_t step = 0, stream = 0;
    uint32_t first_row = 0;           // global index of row 0: a chain draws the same numbers in any batch
    const double* given = nullptr;    // m x n uniforms, row-major, to use instead (half-steps of Bernoulli units)
    const uint32_t* clock = nullptr;  // where not null, what lies there is added to step: step_of in philox.h
};

// A layer of n units given m states of the other layer (k units):
//   x = scale * (states . weights + field) + bias
//   bernoulli: mean = sigmoid(x), sample = [u < mean];  gaussian: mean = x, sample = x + sigma z
//   log_partition[i] += sum_j softplus(x_ij) - softplus(ratio * x_ij)   (second term only if ratio >= 0)
// Any output may be null. log_partition terms are summed in panel order, for any number of threads.
struct HalfStep {
    int64_t m, n, k;
    Left states;
    const void* weights;  // panels of `format`, k x n
    const void* bias;     // n
    const void* sigma;    // n, Gaussian only
    double scale;
    Unit unit;
    void *mean, *sample;  // m x n row-major, leading dimension n
    uint32_t* bits;       // the samples as m rows of bit_words(n) words, Bernoulli only
    void* log_partition;  // m
    double ratio;
    Draw draw;
    DType dtype, format;
    const void* field = nullptr;  // m x n row-major, or null: what comes in from elsewhere
};

// The contrast G = sum_b v_b c_b h_b' (+1 for data rows, -1 for model rows; it scales the hidden factor, so
// that binary visible states stay binary)
// and the step on the weights, in panels of dtype over hidden units (visible x hidden):
//   g = row_scale_i G_ij - sum_t left_t[i] right_t[j] - l2 w - l1 sign(w)
//   velocity = momentum velocity + rate g;   w += velocity
// row_dot[i] = sum_j w_ij G_ij with the weights before the step: the data-dependent part of the variance
// gradient of Gaussian visibles. Null pointers switch an item off; without velocity momentum must be 0.
struct WeightUpdate {
    int64_t visibles, hiddens, rows;
    Left visible;          // visibles x rows: transposed states, rows x visibles row-major in memory
    const void* hidden;    // rows x hiddens, row-major
    const void* contrast;  // rows
    void *weights, *velocity;
    const void* row_scale;
    const void *left[2], *right[2];
    void* row_dot;
    double rate, momentum, l2, l1;
    DType dtype, format;
};

}  // namespace unsupfast
