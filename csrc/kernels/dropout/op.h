// Units left out at random while training.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// y = x / (1 - rate) where u >= rate, else 0, with u the uniform of (row, unit): m x n. The gradient is the same
// operation, on the same random numbers: no mask is kept.
struct Dropout {
    int64_t m, n;
    const void* x;
    double rate;  // in [0, 1)
    Draw draw;
    void* y;
    DType dtype;
};

}  // namespace unsupfast
