// Index maps of the CUDA GEMM engine: which thread holds, reads and writes which element of a tile. Plain
// constexpr functions, checked below at compile time, because an error here is hard to see on a GPU.
#pragma once
#include <cstdint>

#include "kernels/gemm/op.h"

#if defined(__CUDACC__)
#define USF_MAP __host__ __device__ constexpr
#else
#define USF_MAP constexpr
#endif

namespace unsupfast::cuda {

// How words of the operands are multiplied: T by T with FMA, or on the tensor cores pairs of bf16, or bits by weights
// in 16-bit fixed point: the high bytes first, then the low ones, four of k in a word. Those sums are exact.
template <class T>
struct Fma {
    using Value = T;                   // of the left operand and everything in an epilogue
    using Sum = T;                     // of an accumulator
    using Word = T;                    // of a tile in shared memory
    static constexpr int kPair = 1;    // values of k in a word
    static constexpr int kPasses = 1;  // over all of k
};
struct Bf16 {
    using Value = float;
    using Sum = float;
    using Word = uint32_t;
    static constexpr int kPair = 2, kPasses = 1;
};
struct Fixed {
    using Value = float;
    using Sum = int32_t;
    using Word = uint32_t;
    static constexpr int kPair = 4, kPasses = 2;
    static constexpr int64_t kMaxDepth = 1 << 16;  // of k: sums fit into 32 bits
};

// An output tile of kSide x kSide and what one step of the main loop holds of its operands: `depth` words
// along k, stored [word][row] and [word][column]. The paddings keep 16-byte alignment and spread what a
// warp touches at once over the banks.
template <class F, int kSide>
struct Tile {
    using Format = F;
    static constexpr bool kMma = F::kPair > 1;
    static constexpr int rows = kSide, cols = kSide, panels = kSide / int(kPanel);
    static constexpr int threads = kSide == 128 ? 256 : kSide == 64 ? 128 : 64;
    static constexpr int min_blocks = (sizeof(typename F::Word) == 8 ? 384 : 512) / threads;  // a multiprocessor
    static constexpr int depth = sizeof(typename F::Word) == 8 || F::kPair == 4 ? 8 : 16;
    static constexpr int left_stride = rows + (kMma ? 8 : 4), right_stride = cols + (kMma ? 8 : 0);

    // FMA: a thread holds thread_rows x thread_panels x 4 accumulators
    static constexpr int thread_rows = kSide == 32 ? 4 : 8;
    static constexpr int row_groups = rows / thread_rows;
    static constexpr int thread_panels = panels * 8 * row_groups / threads;
    // tensor cores: a warp holds warp_frags x 16 rows of one panel
    static constexpr int warps = threads / 32;
    static constexpr int warp_frags = rows * panels / (16 * warps);
    static constexpr int row_warps = warps / panels;
};

// panels() and padded_depth() of op.h, for the device
USF_MAP int64_t panel_count(int64_t n) { return (n + kPanel - 1) / kPanel; }
USF_MAP int64_t panel_depth(DType format, int64_t k) {
    return format == DType::bf16 ? (k + 1) / 2 * 2 : format == DType::i16 ? k + kFixedHeader + 1 : k;
}
USF_MAP int fixed_place_of(int c) { return c % 16 * 2 + c / 16; }

// The lowest four bits as bytes of zeros and ones; byte `pass` of two of a weight in fixed point, the high one first.
USF_MAP uint32_t bytes_of_bits(uint32_t bits) { return (bits & 15u) * 0x204081u & 0x01010101u; }
USF_MAP uint32_t byte_of_fixed(int16_t q, int pass) { return pass == 0 ? uint32_t(q) >> 8 & 255u : uint32_t(q) & 255u; }
static_assert(bytes_of_bits(0xf5) == 0x00010001u && bytes_of_bits(0xa) == 0x01000100u);
static_assert(256 * int8_t(byte_of_fixed(-32767, 0)) + int(byte_of_fixed(-32767, 1)) == -32767 &&
              256 * int8_t(byte_of_fixed(255, 0)) + int(byte_of_fixed(255, 1)) == 255);
static_assert(panel_count(33) == panels(33) && panel_depth(DType::bf16, 7) == padded_depth(DType::bf16, 7) &&
              panel_depth(DType::f32, 7) == padded_depth(DType::f32, 7) &&
              panel_depth(DType::i16, 7) == padded_depth(DType::i16, 7) && fixed_place_of(17) == fixed_place(17));

// Where column c of row k of a panel of bf16 lies. The CUDA kernels keep these rows contiguous, unlike gemm/op.h,
// with the 64-byte swizzle of Hopper's matrix instructions: a run of rows goes to shared memory as it is.
USF_MAP int64_t swizzled(int64_t k, int64_t c) { return k * kPanel + ((c / 8 ^ k / 2 % 4) * 8 + c % 8); }

// Both forms leave a thread with sets of the four columns b, b + 8, b + 16, b + 24 of a row of a panel:
// exactly the four words of one Philox block.
USF_MAP int column_of(int b, int word) { return b + 8 * word; }

// Where column c of a panel lies in a row of the right operand's tile. For FMA the four columns of a thread
// are neighbours, one 16-byte load.
template <bool kMma>
USF_MAP int right_place(int c) {
    return kMma ? c : c % 8 * 4 + c / 8;
}

// What thread t holds with FMA.
template <class Tile>
struct FmaMap {
    static USF_MAP int b(int t) { return t % 8; }
    static USF_MAP int row(int t, int i) { return t / 8 % Tile::row_groups * Tile::thread_rows + i; }
    static USF_MAP int panel(int t, int p) { return t / (8 * Tile::row_groups) * Tile::thread_panels + p; }
};

// Fragments of mma.m16n8k16 in bf16 and of mma.m16n8k32 in bytes (PTX ISA, "Matrix Fragments for ..."): register
// r of lane l holds, as words of two or four along k,
//   A: row frag_row(l, r % 2), word frag_word(l, r / 2)     B: column l / 4, word frag_word(l, r)
//   C: row frag_row(l, r / 2), column frag_column(l, r % 2)
USF_MAP int frag_row(int lane, int half) { return lane / 4 + 8 * half; }
USF_MAP int frag_word(int lane, int half) { return lane % 4 + 4 * half; }
USF_MAP int frag_column(int lane, int odd) { return lane % 4 * 2 + odd; }

template <class Tile>
struct MmaMap {
    static USF_MAP int row(int warp, int frag) { return (warp % Tile::row_warps * Tile::warp_frags + frag) * 16; }
    static USF_MAP int panel(int warp) { return warp / Tile::row_warps; }
};

// ---------------------------------------------------------------- checks

// Every element of the output tile is held exactly once.
template <class Tile>
constexpr bool covers_once() {
    bool seen[Tile::rows][Tile::cols] = {};
    int count = 0;
    const auto mark = [&](int row, int panel, int b, int word) {
        const int column = panel * int(kPanel) + column_of(b, word);
        if (row >= Tile::rows || column >= Tile::cols || seen[row][column]) return false;
        ++count;
        return seen[row][column] = true;
    };
    for (int t = 0; t < Tile::threads; ++t)
        for (int word = 0; word < 4; ++word)
            if constexpr (Tile::kMma) {
                for (int frag = 0; frag < Tile::warp_frags; ++frag)
                    for (int r = 0; r < 4; ++r)
                        if (!mark(MmaMap<Tile>::row(t / 32, frag) + frag_row(t % 32, r / 2),
                                  MmaMap<Tile>::panel(t / 32), frag_column(t % 32, r % 2), word))
                            return false;
            } else {
                for (int p = 0; p < Tile::thread_panels; ++p)
                    for (int i = 0; i < Tile::thread_rows; ++i)
                        if (!mark(FmaMap<Tile>::row(t, i), FmaMap<Tile>::panel(t, p), FmaMap<Tile>::b(t), word))
                            return false;
            }
    return count == Tile::rows * Tile::cols;
}

// The lanes of a warp find the words of a fragment in 32 different banks.
template <class Tile>
constexpr bool fragments_without_conflicts() {
    bool left[32] = {}, right[32] = {};
    for (int lane = 0; lane < 32; ++lane) {
        left[(frag_word(lane, 0) * Tile::left_stride + frag_row(lane, 0)) % 32] = true;
        right[(frag_word(lane, 0) * Tile::right_stride + lane / 4) % 32] = true;
    }
    for (int bank = 0; bank < 32; ++bank)
        if (!left[bank] || !right[bank]) return false;
    return true;
}

template <class Tile>
constexpr bool sound() {
    static_assert(Tile::threads % Tile::depth == 0);
    static_assert(Tile::threads % Tile::rows == 0 && Tile::rows <= Tile::threads);
    static_assert(Tile::depth % Tile::warps == 0);
    static_assert(Tile::left_stride % 4 == 0 && Tile::right_stride % 4 == 0);
    static_assert(2 * Tile::depth * (Tile::left_stride + Tile::right_stride) * sizeof(typename Tile::Format::Word) <=
                  48 * 1024);
    return covers_once<Tile>() && (!Tile::kMma || fragments_without_conflicts<Tile>());
}

static_assert(sound<Tile<Fma<float>, 128>>() && sound<Tile<Fma<float>, 64>>() && sound<Tile<Fma<float>, 32>>());
static_assert(sound<Tile<Fma<double>, 64>>() && sound<Tile<Fma<double>, 32>>());
static_assert(sound<Tile<Bf16, 128>>() && sound<Tile<Bf16, 64>>() && sound<Tile<Bf16, 32>>());
static_assert(sound<Tile<Fixed, 128>>() && sound<Tile<Fixed, 64>>() && sound<Tile<Fixed, 32>>());

}  // namespace unsupfast::cuda
