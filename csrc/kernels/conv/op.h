// Convolutions are products whose left operand is gathered (Patches in gemm/op.h): a convolution is any operation of
// the GEMM engine on patches of its maps, with filters as the right operand. Here is what the engine does not have:
// that operand for a transposed convolution, the gradient by the filters, and the half-step of a convolutional RBM.
//
// Maps are (count, height, width, channels) in memory, filters (filters, height, width, channels).
#pragma once
#include "kernels/gemm/op.h"
#include "kernels/rbm/op.h"

namespace unsupfast {

// The right operand of a transposed convolution: patches of the filters' maps (of `height` rows, `cols` columns and
// `filters` channels) times it are `block` neighbouring pixels of `channels` values. With x counted from the first
// column of a patch and X from the first pixel of the block, both in steps of a pixel,
//   dst[(r, x, k)][(X, c)] = src[k, height - 1 - r, X - x + offset, c], and 0 where the filter has no such column.
// A block of one pixel is the usual form. Where pixels have few channels a whole row of them fills the columns of a
// panel instead, and a list of non-zeros skips what the larger operand has of zeros.
struct TurnFilters {
    int64_t filters, height, width, channels;
    const void* src;
    int64_t cols, block, offset;
    void* dst;  // panels of (height cols filters) x (block channels)
    DType dtype, format;
};

// Detection units of n filters over m positions, in blocks of pool x pool neighbours of a filter's map of which one is
// on at most, and for each block a pooling unit that is on if one of them is. For the fields
//   x = scale (states . weights) + bias
// a unit is on with probability exp(x) / (1 + sum of exp(x) over its block). states are patches (or as many
// ordinary rows), of maps of out_height x out_width positions, both multiples of pool.
//   log_partition[map] += sum over blocks of log(1 + sum exp(x)) - log(1 + sum exp(ratio x))   (ratio < 0: no such
//   term)
// One uniform a block, of row `map` and unit block * n + filter, decides which unit is on, in order of rows and
// columns. Any output may be null.
struct PoolingStep {
    int64_t m, n, k;
    Left states;
    int64_t out_height, out_width, pool;
    const void* weights;  // panels of `format`, k x n
    const void* bias;     // n
    double scale;
    void* mean;           // m x n
    uint32_t* bits;       // samples: a row of words for every row of positions, bits (column, filter)
    void* pooled;         // means of pooling units: (maps, out_height / pool, out_width / pool, n)
    void* log_partition;  // maps
    double ratio;
    Draw draw;
    DType dtype, format;
};

// out (n x k, row-major) = scale (sum over the positions of patch' hidden) + beta out, and sums (n) the same of hidden
// alone: the gradient by filters and by their biases. `patches` (of values or bits) are m x k, hidden m x n.
struct FilterGradient {
    int64_t m, n, k;
    Left patches;
    const void* hidden;
    double scale, beta;
    void *out, *sums;
    DType dtype, format;
};

}  // namespace unsupfast
