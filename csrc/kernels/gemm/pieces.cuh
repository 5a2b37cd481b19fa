// Operands as pieces of bfloat16, in the order in which Hopper's engine copies them to shared memory. One piece
// is a rounded value, three hold all bits of a float32: x = x0 + x1 + x2, each the rounded rest of those before.
#pragma once
#include "cuda/device.h"
#include "cuda/hopper.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

// A left operand in shared memory: blocks of 64 rows, along k first, k padded with zeros to a multiple of 64. Of
// values, by 32 of k and swizzled; of bits, by 64 of k: a word for every thread of a group, as hopper.cuh wants it.
inline constexpr int kBlockRows = 64, kBlockDepth = 32, kBitsDepth = 64, kBlockBytes = kBlockRows * kBlockDepth * 2;

struct LeftPieces {
    int64_t m, k;
    Left from;
    char* to;
    USF_MAP int64_t depth() const { return (k + 63) / 64 * 64; }
    USF_MAP int64_t row_bytes() const { return from.bits ? kBlockRows * depth() / 8 : kBlockRows * depth() * 2; }
    USF_MAP int64_t bytes() const { return (m + kBlockRows - 1) / kBlockRows * row_bytes(); }  // of a piece
    // of threads: one block of values each, or eight blocks of bits
    USF_MAP int64_t blocks() const { return (bytes() + kBlockBytes - 1) / kBlockBytes * (from.bits ? 4 : 1); }
};

// A right operand: panels as in memory for bf16 (tiles.h), k rows each. From float32 panels or row-major values.
struct RightPieces {
    int64_t k, n;
    const float* from;
    bool is_panels;
    int64_t row_stride;
    const float* k_scale;
    char* to;
    USF_MAP int64_t groups() const { return (k + kBlockRows - 1) / kBlockRows; }
    USF_MAP int64_t blocks() const { return to ? panel_count(n) * groups() : 0; }
    USF_MAP int64_t bytes() const { return panel_count(n) * k * kPanel * 2; }  // of a piece
};

// The next piece of eight values; what is left of them stays in x.
__device__ __forceinline__ uint4 take_piece(float (&x)[8]) {
    uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        word[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
        x[2 * i] -= __uint_as_float(word[i] << 16);
        x[2 * i + 1] -= __uint_as_float(word[i] & 0xffff0000u);
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
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

// One word of the bits of a left operand: hopper.cuh, BitFragments.
__device__ __forceinline__ uint32_t bits_word(const LeftPieces& left, int64_t at) {
    const int64_t chunks = left.depth() / kBitsDepth, block = at / 128, words = (left.k + 31) / 32;
    const int t = int(at % 128), lane = t % 32;
    uint32_t word = 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int64_t row = block / chunks * kBlockRows + t / 32 * 16 + lane / 4 + 8 * h;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int64_t w = block % chunks * 2 + j;
            const uint32_t bits = row < left.m && w < words ? left.from.bits[row * left.from.row_stride + w] : 0u;
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    word |= (bits >> (16 * s + 8 * half + lane % 4 * 2) & 3u) << (8 * (2 * half + h) + 2 * (2 * j + s));
        }
    }
    return word;
}

// A block of threads makes 64 rows of 32 values, or 256 words of bits, of the left operand; then the right one's.
template <int kPieces>
__global__ void __launch_bounds__(kPiecesThreads)
    pieces_kernel(const __grid_constant__ LeftPieces left, const __grid_constant__ RightPieces right) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    let_next_grid_start();
#endif
    const int t = int(threadIdx.x);
    const int64_t left_blocks = left.to ? left.blocks() : 0;
    float x[8];
    if (blockIdx.x < left_blocks && left.from.bits) {
        const int64_t at = int64_t(blockIdx.x) * kPiecesThreads + t;
        if (at * 4 < left.bytes()) reinterpret_cast<uint32_t*>(left.to)[at] = bits_word(left, at);
        return;
    }
    if (blockIdx.x < left_blocks) {
        __shared__ uint4 block[kBlockBytes / 16];  // rows are read along what is contiguous, written as they are stored
        const bool along_rows = left.from.row_stride == 1;
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
#pragma unroll
        for (int p = 0; p < kPieces; ++p) {
            block[swizzled(row, part * 8) / 8] = take_piece(x);
            __syncthreads();
            reinterpret_cast<uint4*>(left.to + p * left.bytes())[int64_t(blockIdx.x) * kPiecesThreads + t] = block[t];
            if (p + 1 < kPieces) __syncthreads();
        }
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
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
        reinterpret_cast<uint4*>(right.to + p * right.bytes())[(panel * right.k * kPanel + swizzled(k, c)) / 8] =
            take_piece(x);
}

// Makes the pieces of both operands; one whose `to` is null is left out.
template <int kPieces>
void make_pieces(const LeftPieces& left, const RightPieces& right, const Launch& launch) {
    start(launch, (left.to ? left.blocks() : 0) + right.blocks(), kPiecesThreads, pieces_kernel<kPieces>, left, right);
}

}  // namespace unsupfast::cuda
