// The dense inner kernel of the GEMM engine, and other work done beside it.
#pragma once
#include "kernels/gemm/engine.h"

namespace unsupfast::USF_ISA {

// acc + a b, where words are numbers ...
template <class T>
inline Vec<T> add_product(Vec<T> acc, T a, Vec<T> b) {
    return fma<T>(splat(a), b, acc);
}
// ... or pairs of neighbouring k, held as bf16
inline vf32 add_product(vf32 acc, uint32_t a, vu32 b) {
#if defined(__AVX512BF16__)
    return (vf32)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(int(a)), (__m512bh)b);
#else
    const float even = bits<float>(a << 16), odd = bits<float>(a & 0xffff0000u);
    acc = fma<float>(splat(even), bits<vf32>(b << 16), acc);
    return fma<float>(splat(odd), bits<vf32>(b & 0xffff0000u), acc);
#endif
}

// Work that an inner kernel does on the side, in this many pieces spread over its loop. The kernel keeps the
// multipliers busy; pieces of memory traffic, roots and divisions between its steps cost next to nothing.
struct NoWork {
    static constexpr int kPieces = 0;
    void operator()(int) const {}
};

// out (rows x NV vectors) = sum over words of a[word][row] * b[word][columns]
template <int MR, int NV, class T, class W, class Work = NoWork>
void dense_block(int64_t words, const W* a, const W* b, T* out, const Work& work) {
    Vec<T> acc[MR][NV] = {};
    constexpr int kPieces = Work::kPieces;
    const int64_t few = words / most(1, kPieces);
    for (int q = 0; q <= kPieces; ++q) {
        if (q < kPieces) work(q);
        for (int64_t i = q < kPieces ? few : words - few * kPieces; i > 0; --i, a += MR, b += kPanel) {
            Vec<W> right[NV];
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) __builtin_prefetch(b + 16 * kPanel + v * kLanes<T>);
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) right[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
            for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
                for (int v = 0; v < NV; ++v) acc[r][v] = add_product(acc[r][v], a[r], right[v]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) store(out + r * kPanel + v * kLanes<T>, acc[r][v]);
}

// As tile_product, with `work` beside it where the tile is dense and one block of registers, else before it.
template <class T, class Work>
void tile_product(const Slot* slot, int rows, int64_t k, const void* panel, DType format, int64_t cols, T* out,
                  const Work& work) {
    if constexpr (kPanel == 2 * kLanes<T>)
        if (slot->kind == Packed::dense && cols > kLanes<T> && rows >= kTileRows<T> - 1) {
            constexpr int R = kTileRows<T>;
            const auto block = [&]<class W>(const W* right, int64_t words) {
                (rows == R ? dense_block<R, 2, T, W, Work>
                           : dense_block<R - 1, 2, T, W, Work>)(words, reinterpret_cast<const W*>(slot + 1), right, out,
                                                                work);
            };
            return format == DType::bf16 ? block(static_cast<const uint32_t*>(panel), (k + 1) / 2)
                                         : block(static_cast<const T*>(panel), k);
        }
    for (int q = 0; q < Work::kPieces; ++q) work(q);
    tile_product<T>(slot, rows, k, panel, format, cols, out);
}

}  // namespace unsupfast::USF_ISA
