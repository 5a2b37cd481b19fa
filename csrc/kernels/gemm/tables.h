// Products of binary states by tables of sums. Four rows of a panel have 16 sums of some of them; with those in a
// table, a row of bits takes one addition for every four of its bits, whatever they are: up to twice as fast as
// multiplying, where there are rows enough to pay for the tables, and no packing at all.
//
// An output is one chain of additions again, of the sums of four neighbouring k in the order of k: results do not
// depend on the number of threads, but differ from the other kernels' by rounding.
#pragma once
#include "kernels/gemm/engine.h"

namespace unsupfast::USF_ISA {

// What tables need to win, measured at 784 x 500 beside lists (where few bits are ones) and, in bf16, the dense kernel.
struct TableNeeds {
    int64_t rows;
    double share;  // of ones
};
constexpr TableNeeds kTableNeeds = {24, 0.20}, kTableNeedsBf16 = {64, 0.15};

constexpr int kTableBits = 4, kTableSums = 1 << kTableBits;
// Groups of bits whose tables are held at a time, and rows: both, with the rows' outputs, stay in the first-level
// cache.
template <class T>
constexpr int kTableGroups = 32 / int(sizeof(T));
constexpr int64_t kTableBlock = 128;

// Four rows of a vector of columns, from a panel of numbers or, in pairs, of bf16.
template <class T>
inline void load_rows(const T* panel, Vec<T>* row) {
#pragma GCC unroll 4
    for (int i = 0; i < kTableBits; ++i) row[i] = load(panel + i * kPanel);
}
inline void load_rows(const uint32_t* panel, vf32* row) {
#pragma GCC unroll 2
    for (int i = 0; i < kTableBits; i += 2) {
        const vu32 pair = load(panel + i / 2 * kPanel);
        row[i] = bits<vf32>(pair << 16);
        row[i + 1] = bits<vf32>(pair & 0xffff0000u);
    }
}

// All sums of the columns of four rows, at sums[which of them][column].
template <class T, class W>
inline void fill_table(const W* panel, int vectors, T* sums) {
    for (int v = 0; v < vectors; ++v) {
        const auto put = [&](int which, Vec<T> x) { store(sums + which * kPanel + v * kLanes<T>, x); };
        Vec<T> row[kTableBits], sum[kTableSums] = {};
        load_rows(panel + v * kLanes<T>, row);
        put(0, sum[0]);
#pragma GCC unroll 16
        for (int which = 1; which < kTableSums; ++which) {
            const int last = 31 - __builtin_clz(unsigned(which)), others = which - (1 << last);
            sum[which] = others ? sum[others] + row[last] : row[last];
            put(which, sum[which]);
        }
    }
}

// Adds to the outputs of R rows the sums that their next bits name; rows side by side hide each other's latency.
template <class T, int NV, int kGroups, int R>
inline void add_sums(const uint32_t* bits, int64_t stride, int shift, const T* sums, T* out) {
    constexpr uint64_t kSize = kPanel * sizeof(T);
    uint64_t word[R];
    Vec<T> acc[R][NV];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
        word[r] = bits[r * stride] >> shift;
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) acc[r][v] = load(out + r * kPanel + v * kLanes<T>);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g)
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
            // where the sum lies, in bytes: its number times kSize, by one shift and one mask
            const uint64_t at = (word[r] >> g * kTableBits) * kSize & (kTableSums - 1) * kSize;
            const char* table = reinterpret_cast<const char*>(sums + g * kTableSums * kPanel);
            const T* sum = reinterpret_cast<const T*>(table + at);
#pragma GCC unroll 16
            for (int v = 0; v < NV; ++v) acc[r][v] += load(sum + v * kLanes<T>);
        }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) store(out + r * kPanel + v * kLanes<T>, acc[r][v]);
}
template <class T, int NV, int kGroups>
inline void add_sums(const uint32_t* bits, int64_t stride, int shift, int64_t rows, const T* sums, T* out) {
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2, bits += 2 * stride, out += 2 * kPanel)
        add_sums<T, NV, kGroups, 2>(bits, stride, shift, sums, out);
    if (r < rows) add_sums<T, NV, kGroups, 1>(bits, stride, shift, sums, out);
}

// out[r][0..cols) (leading dimension 32) = rows of bits times a panel of words W.
template <class T, class W, int NV>
void table_product(const uint32_t* bits, int64_t stride, int64_t rows, int64_t k, const W* panel, T* out) {
    constexpr int kGroups = kTableGroups<T>, kDepth = kGroups * kTableBits;
    constexpr int64_t kInWord = std::is_same_v<T, W> ? 1 : 2, kGroupWords = kTableBits / kInWord * kPanel;
    alignas(64) T sums[kGroups * kTableSums * kPanel];
    std::memset(out, 0, size_t(rows * kPanel) * sizeof(T));
    int64_t k0 = 0;
    for (; k0 + kDepth <= k; k0 += kDepth) {
        for (int g = 0; g < kGroups; ++g, panel += kGroupWords) fill_table(panel, NV, sums + g * kTableSums * kPanel);
        add_sums<T, NV, kGroups>(bits + k0 / 32, stride, int(k0 % 32), rows, sums, out);
    }
    for (; k0 < k; k0 += kTableBits, panel += kGroupWords) {
        alignas(64) W last[kGroupWords] = {};  // the panel may end within the four
        const int64_t there = (least(k - k0, kTableBits) + kInWord - 1) / kInWord;
        std::memcpy(last, panel, size_t(there * kPanel) * sizeof(W));
        fill_table(last, NV, sums);
        add_sums<T, NV, 1>(bits + k0 / 32, stride, int(k0 % 32), rows, sums, out);
    }
}

// Whether a product is one for tables.
inline bool by_tables(int64_t m, int64_t k, const Left& a, DType format) {
    const TableNeeds needs = format == DType::bf16 ? kTableNeedsBf16 : kTableNeeds;
    if (!a.bits || a.patches.height || m < needs.rows || format == DType::i16) return false;
    int64_t ones = 0;
    for (int64_t i = 0; i < m; ++i)
        for (int64_t w = 0; w < bit_words(k); ++w) ones += __builtin_popcount(a.bits[i * a.row_stride + w]);
    return double(ones) > needs.share * double(m) * double(k);
}

// As multiply() of engine.h.
template <class T, class Epilogue>
void multiply_by_tables(int64_t m, int64_t n, int64_t k, const Left& a, const void* b, DType format,
                        const Launch& launch, const Epilogue& epilogue) {
    constexpr int L = kLanes<T>;
    const int64_t threads = launch.threads ? launch.threads() : 1;
    // more blocks than the cache asks for where there are threads without work, but none too small for its tables
    const int64_t blocks =
        most((m + kTableBlock - 1) / kTableBlock, least(m / kTableNeeds.rows, (threads + panels(n) - 1) / panels(n)));
    const size_t panel_bytes = size_t(padded_depth(format, k) * kPanel * element_size(format));
    parallel_for(launch, panels(n) * blocks, [&](int64_t begin, int64_t end) {
        alignas(64) T out[kTableBlock * kPanel];
        for (int64_t item = begin; item < end; ++item) {
            const int64_t panel = item / blocks, block = item % blocks;
            const int64_t n0 = panel * kPanel, cols = least(kPanel, n - n0);
            const int64_t first = m * block / blocks, rows = m * (block + 1) / blocks - first;
            const uint32_t* bits = a.bits + first * a.row_stride;
            const auto product = [&]<class W>(const W* right) {
                if (kPanel / L == 2 && cols <= L)
                    table_product<T, W, 1>(bits, a.row_stride, rows, k, right, out);
                else
                    table_product<T, W, kPanel / L>(bits, a.row_stride, rows, k, right, out);
            };
            const char* right = static_cast<const char*>(b) + size_t(panel) * panel_bytes;
            if constexpr (sizeof(T) == 4)
                format == DType::bf16 ? product(reinterpret_cast<const uint32_t*>(right))
                                      : product(reinterpret_cast<const T*>(right));
            else
                product(reinterpret_cast<const T*>(right));
            for (int64_t r = 0; r < rows; r += kTileRows<T>)
                epilogue(first + r, int(least(rows - r, kTileRows<T>)), n0, cols, out + r * kPanel);
        }
    });
}

// By tables, or with the left operand packed once for all threads, whichever is for it.
template <class T, class Epilogue>
void multiply_shared(int64_t m, int64_t n, int64_t k, const Left& a, const void* b, DType format, const Launch& launch,
                     const Epilogue& epilogue) {
    if (by_tables(m, k, a, format))
        multiply_by_tables<T>(m, n, k, a, b, format, launch, epilogue);
    else
        multiply<T>(m, n, k, a, b, format, launch, epilogue);
}

}  // namespace unsupfast::USF_ISA
