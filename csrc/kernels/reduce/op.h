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

}  // namespace unsupfast
