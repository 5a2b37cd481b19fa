// Reductions over one axis of a contiguous array of three: outer x reduced x inner.
#pragma once
#include "kernel.h"

namespace unsupfast {

enum class Reduction : int { sum, max };

// y[o, i] = scale * the sum (the largest; NaN where there is one) over r of x[o, r, i]. The order of a sum is one of
// its extents alone; float32 is summed in runs whose totals are added with twice the digits.
struct Reduce {
    Reduction f;
    int64_t outer, reduced, inner;
    const void* x;
    double scale;
    void* y;
    DType dtype;
};

// totals[i] += weight x[i][0] for i < count: what a training loop adds up of its steps.
static constexpr int kTallied = 8;
struct Tally {
    int64_t count;
    const void* x[kTallied];
    double weight;
    double* totals;
    DType dtype;
};

}  // namespace unsupfast
