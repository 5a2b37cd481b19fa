// What the GEMM engines of the GPU share: their right operand and the scratch memory of kernels built on them.
#pragma once
#include "cuda/device.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

// Buffers of launch.scratch that kernels use, all on the same stream.
enum Scratch : int { kPartialScratch = 0, kLeftScratch = 6, kRightScratch = 7 };

// The right operand, k x n: panels of the format (gemm/op.h), or the values themselves, row-major, row k times
// k_scale[k] where that is not null.
struct Right {
    const void* data;
    bool is_panels;
    bool is_fixed = false;   // panels in 16-bit fixed point
    int64_t row_stride = 0;  // of values
    const void* k_scale = nullptr;
};

inline Right right_panels(const void* data, DType format) { return {data, true, format == DType::i16}; }
inline Right right_values(const void* data, int64_t row_stride, const void* k_scale) {
    return {data, false, false, row_stride, k_scale};
}

}  // namespace unsupfast::cuda
