// Operands as pieces of bfloat16, in the order in which Hopper's engine copies them to shared memory. One piece
// is a rounded value, three hold all bits of a float32: x = x0 + x1 + x2, each the rounded rest of those before.
#pragma once
#include "cuda/device.h"
#include "cuda/hopper.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

// A left operand in shared memory: blocks of 64 rows by 32 of k, along k first, k padded with zeros to whole
// pairs of blocks.
inline constexpr int64_t kBlockRows = 64, kBlockDepth = 32, kBlockElements = kBlockRows * kBlockDepth;

struct LeftPieces {
    int64_t m, k;
    Left from;
    uint16_t* to;
    USF_MAP int64_t depth() const { return (k + 63) / 64 * 64; }
    USF_MAP int64_t blocks() const { return (m + kBlockRows - 1) / kBlockRows * (depth() / kBlockDepth); }
    USF_MAP int64_t elements() const { return blocks() * kBlockElements; }  // of a piece
};

// A right operand: panels as in memory for bf16 (tiles.h), k rows each. From float32 panels or row-major values.
struct RightPieces {
    int64_t k, n;
    const float* from;
    bool is_panels;
    int64_t row_stride;
    const float* k_scale;
    uint16_t* to;
    USF_MAP int64_t groups() const { return (k + kBlockRows - 1) / kBlockRows; }
    USF_MAP int64_t blocks() const { return to ? panel_count(n) * groups() : 0; }
    USF_MAP int64_t elements() const { return panel_count(n) * k * kPanel; }
};

// Eight values that are neighbours in a row of 32, as pieces `piece` elements apart.
template <int kPieces>
__device__ __forceinline__ void store_pieces(float (&x)[8], uint16_t* to, int64_t piece) {
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        uint32_t word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            word[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
            x[2 * i] -= __uint_as_float(word[i] << 16);
            x[2 * i + 1] -= __uint_as_float(word[i] & 0xffff0000u);
        }
        *reinterpret_cast<uint4*>(to + p * piece) = make_uint4(word[0], word[1], word[2], word[3]);
    }
}

// Eight values `stride` apart of which `count` are there.
__device__ __forceinline__ void load_eight(const float* from, int64_t stride, int count, float (&x)[8]) {
    if (count == 8 && stride == 1 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
        const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = i < count ? from[i * stride] : 0.f;
}

constexpr int kPiecesThreads = 256;

// A block of threads makes 64 rows of 32 elements, of the left operand first.
template <int kPieces>
__global__ void __launch_bounds__(kPiecesThreads)
    pieces_kernel(const __grid_constant__ LeftPieces left, const __grid_constant__ RightPieces right) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    let_next_grid_start();
    wait_for_grid();
#endif
    const int t = int(threadIdx.x);
    const int64_t left_blocks = left.to ? left.blocks() : 0;
    float x[8];
    if (blockIdx.x < left_blocks) {
        const bool along_rows = left.from.row_stride == 1;  // neighbouring threads read along what is contiguous
        const int row = along_rows ? t % 64 : t / 4, part = along_rows ? t / 64 : t % 4;
        const int64_t blocks = left.depth() / kBlockDepth, i = blockIdx.x / blocks * kBlockRows + row,
                      k = blockIdx.x % blocks * kBlockDepth + part * 8;
        const int count = i < left.m ? int(max(int64_t(0), min(left.k - k, int64_t(8)))) : 0;
        const float *data = static_cast<const float*>(left.from.data),
                    *scale = static_cast<const float*>(left.from.k_scale);
        load_eight(data + i * left.from.row_stride + k * left.from.col_stride, left.from.col_stride, count, x);
        if (scale)
#pragma unroll
            for (int j = 0; j < 8; ++j)
                if (j < count) x[j] *= scale[k + j];
        store_pieces<kPieces>(x, left.to + blockIdx.x * kBlockElements + swizzled(row, part * 8), left.elements());
        return;
    }
    const int64_t block = blockIdx.x - left_blocks, panel = block / right.groups(),
                  k = block % right.groups() * kBlockRows + t / 4;
    if (k >= right.k) return;
    const int c = t % 4 * 8;
    const int count = int(max(int64_t(0), min(right.n - panel * kPanel - c, int64_t(8))));
    if (right.is_panels)
        load_eight(right.from + (panel * right.k + k) * kPanel + c, 1, 8, x);
    else
        load_eight(right.from + k * right.row_stride + panel * kPanel + c, 1, count, x);
    const float scale = right.k_scale ? right.k_scale[k] : 1.f;
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] *= scale;
    store_pieces<kPieces>(x, right.to + panel * right.k * kPanel + swizzled(k, c), right.elements());
}

// Makes the pieces of both operands; one whose `to` is null is left out.
template <int kPieces>
void make_pieces(const LeftPieces& left, const RightPieces& right, const Launch& launch) {
    start(launch, (left.to ? left.blocks() : 0) + right.blocks(), kPiecesThreads, pieces_kernel<kPieces>, left, right);
}

}  // namespace unsupfast::cuda
