// The GEMM engine of the CPU. A product is cut into tiles of up to kTileRows x 32. The prologue packs a
// tile's rows of the left operand once for all panels: dense, or, where most entries are zero (sampled
// units, sparse data), as lists of the non-zeros. The inner kernel sums over the whole depth in registers;
// the epilogue gets the finished tile while it is in the first-level cache.
//
// Every output is one chain of multiply-adds in the order of k, whatever the tile, the thread or the
// density: results do not depend on the number of threads, and skipping zeros is exact. (Many rows of bits
// that are not sparse are for tables.h.)
#pragma once

#include "kernels/gemm/op.h"
#include "simd/vec.h"

namespace unsupfast::USF_ISA {

// Rows of a tile: accumulators, two vectors of columns and a broadcast have to fit the register file, and a
// tile of rows is transposed in one square of registers.
template <class T>
constexpr int kTileRows = kLanes<T> >= 16                     ? 14
                          : kLanes<T> == 8 && USF_BYTES == 32 ? 6
                                                              : kLanes<T>;

template <class T>
struct Entry {
    int32_t k;
    T value;
};

// A packed tile: header, then either [k][rows] values, or one list of non-zeros per row: Entry<T>, or only
// their k where all values are 1, as those of sampled units are. `zeros` lists the k that are 0 among ones:
// what the product has to leave out of the sums of whole columns (i16 only).
enum class Packed : int32_t { dense, entries, ones, zeros };
struct alignas(64) Slot {
    Packed kind;
    int32_t count[14];  // entries of a row's list ...
    int32_t begin[14];  // ... and where it starts among all
};

// Largest share of non-zeros for which the lists win over the dense kernel, measured at 784 x 512 on a Zen 5.
constexpr double kSparseShare = 0.35, kSparseShareBf16 = 0.20;

// out[r][0..cols) (leading dimension 32) = packed tile times panel. Defined once per ISA, in gemm/simd.cpp.
template <class T>
void tile_product(const Slot* slot, int rows, int64_t k, const void* panel, DType format, int64_t cols, T* out);

// Packs rows [m0, m0 + rows) of the left operand.
template <class T>
void pack_tile(const Left& a, int64_t m0, int rows, int64_t k, DType format, Slot* slot);

// Room for the tiles of an operand, and how many of them are packed at a time: a block stays in the outer
// caches, where lists take far less than the room they might need.
struct Slots {
    size_t stride;
    int64_t block;
};

// Room for a tile's values or lists, where patches are packed: what is gathered lies behind it.
template <class T>
inline size_t packed_bytes(bool bits, int64_t k, DType format) {
    size_t entries = size_t(k + 2) * kTileRows<T>, bytes = sizeof(Entry<T>);
    if (bits && format != DType::bf16) {
        if (format == DType::i16) entries = entries / 2 + kFixedRun * kTileRows<T>;
        bytes = sizeof(T);  // of a value; a position takes no more
    }
    return (sizeof(Slot) + entries * bytes + 2 * USF_BYTES + 63) / 64 * 64;
}

template <class T>
inline Slots slots_for(const Left& a, int64_t m, int64_t k, DType format, int64_t tiles) {
    size_t stride = packed_bytes<T>(a.bits != nullptr, k, format);
    if (a.indptr) {
        size_t entries = 0;
        for (int64_t i = 0; i < m; i += kTileRows<T>) {
            // a tile may start anywhere: no more rows than these
            const int64_t end = least(m, i + 2 * kTileRows<T>);
            entries = size_t(most(int64_t(entries), a.indptr[end] - a.indptr[i]));
        }
        stride = (sizeof(Slot) + entries * sizeof(Entry<T>) + 2 * USF_BYTES + 63) / 64 * 64;
    } else if (a.patches.height) {
        const size_t row = a.bits ? size_t(bit_words(k) + 1) * 4 : size_t(k) * sizeof(T);
        stride += (row * kTileRows<T> + USF_BYTES + 63) / 64 * 64;
    }
    return {stride, least(tiles, most(8, int64_t((1 << 20) / stride)))};
}

// Rows [i0, i0 + rows) of an operand of patches as ordinary rows of k, one behind the other, in `to`, which has room
// for a vector more. Defined once per ISA, in gemm/simd.cpp.
template <class T>
Left gather_patches(const Left& a, int64_t i0, int64_t rows, int64_t k, void* to);

enum Scratch : int { kLeftScratch = 0, kRightScratch = 1, kPartialScratch = 2 };

// Calls epilogue(m0, rows, n0, cols, tile) for every tile of A (m x k) times panels b (k x n).
template <class T, class Epilogue>
void multiply(int64_t m, int64_t n, int64_t k, const Left& a, const void* b, DType format, const Launch& launch,
              const Epilogue& epilogue) {
    if (m == 0 || n == 0) return;
    const int64_t tiles = (m + kTileRows<T> - 1) / kTileRows<T>;
    const auto [stride, block] = slots_for<T>(a, m, k, format, tiles);
    char* slots = static_cast<char*>(launch.scratch(kLeftScratch, stride * size_t(block)));
    const size_t panel_bytes = size_t(padded_depth(format, k) * kPanel * element_size(format));
    const auto first_row = [&](int64_t tile) { return m * tile / tiles; };  // tiles of even height

    for (int64_t t0 = 0; t0 < tiles; t0 += block) {
        const int64_t count = least(block, tiles - t0);
        parallel_for(launch, count, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t) {
                const int64_t m0 = first_row(t0 + t);
                pack_tile<T>(a, m0, int(first_row(t0 + t + 1) - m0), k, format,
                             reinterpret_cast<Slot*>(slots + size_t(t) * stride));
            }
        });
        const int64_t groups = least(count, 8);
        parallel_for(launch, panels(n) * groups, [&](int64_t begin, int64_t end) {
            alignas(64) T tile[kTileRows<T> * kPanel];
            for (int64_t item = begin; item < end; ++item) {
                const int64_t panel = item / groups, group = item % groups;
                const int64_t n0 = panel * kPanel, cols = least(kPanel, n - n0);
                const char* right = static_cast<const char*>(b) + size_t(panel) * panel_bytes;
                for (int64_t t = count * group / groups; t < count * (group + 1) / groups; ++t) {
                    const int64_t m0 = first_row(t0 + t);
                    const int rows = int(first_row(t0 + t + 1) - m0);
                    tile_product<T>(reinterpret_cast<const Slot*>(slots + size_t(t) * stride), rows, k, right, format,
                                    cols, tile);
                    epilogue(m0, rows, n0, cols, tile);
                }
            }
        });
    }
}

}  // namespace unsupfast::USF_ISA
