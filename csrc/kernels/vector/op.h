// Random numbers as a whole-array operation, and the measured peak: the ground the kernels stand on.
#pragma once
#include "kernel.h"
#include "kernels/rbm/op.h"

namespace unsupfast {

// out[i * cols + j] = the uniform in [0, 1) of unit j in row i.
struct Uniforms {
    int64_t rows, cols;
    Draw draw;
    float* out;
};

// On every thread `iterations` rounds of 16 independent multiply-adds on full vectors of `format` (bf16:
// pairs accumulated in float32). *flops is set to the floating-point operations of all threads together.
struct PeakLoop {
    int64_t iterations;
    int threads;
    double* flops;
    DType format;
};

}  // namespace unsupfast
