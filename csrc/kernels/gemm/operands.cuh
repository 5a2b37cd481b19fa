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

// The left operands that a caller may have: no code is made for others.
enum class Lefts { any, values, patches };

// Epilogues (engine.cuh) that read memory may say what first, so that an engine can do it ahead of time.
struct Nothing {};
template <class Epilogue>
__device__ __forceinline__ auto load_for(const Epilogue& epilogue, int64_t row, int64_t panel, int b) {
    if constexpr (requires { epilogue.load(row, panel, b); })
        return epilogue.load(row, panel, b);
    else
        return Nothing{};
}

// How a thread ends its part of a row of a panel: the sum of what an epilogue returns, and the bits it sets in a word.
template <class T>
struct RowEnd {
    T term = T(0);
    uint32_t word = 0;

    template <class Epilogue, class Loaded>
    __device__ __forceinline__ void add(const Epilogue& epilogue, int64_t row, int64_t panel, int b, const T (&sums)[4],
                                        const Loaded& loaded) {
        if constexpr (requires { epilogue(row, panel, b, sums, loaded, word); })
            term += epilogue(row, panel, b, sums, loaded, word);
        else if constexpr (requires { epilogue(row, panel, b, sums, loaded); })
            term += epilogue(row, panel, b, sums, loaded);
        else
            term += epilogue(row, panel, b, sums);
    }

    // kLanes neighbouring lanes share the row; the whole warp calls, the first lane has `leads` where there is a row.
    template <int kLanes, class Epilogue>
    __device__ __forceinline__ void finish(const Epilogue& epilogue, int64_t row, int64_t panel, bool leads) {
        if (epilogue.wants_row_sums()) {
            term = sum_lanes<kLanes>(term);
            if (leads) epilogue.row_sum(row, panel, term);
        }
        if constexpr (requires { epilogue.store_word(row, panel, word); }) {
            if (!epilogue.wants_words()) return;
#pragma unroll
            for (int d = 1; d < kLanes; d *= 2) word |= __shfl_xor_sync(0xffffffffu, word, d);
            if (leads) epilogue.store_word(row, panel, word);
        }
    }
};

}  // namespace unsupfast::cuda
