// Matrix products: the operands that every op built on the GEMM engine shares, and the plain product.
#pragma once
#include "kernel.h"

namespace unsupfast {

// Right operands are stored as column panels 32 columns wide, each contiguous over k, zero-padded:
//   f32, f64:  panel[n / 32][k][n % 32]
//   bf16:      panel[n / 32][k / 2][n % 32][k % 2]      (the pair order of the dot-product instructions)
//   i16:       panel[n / 32]: step[32] (float32), sum[32] (int32), [k][fixed_place(n % 32)], a row of zeros;
//              the value is step * integer, sum that of a column's integers. Multiplies bits only.
// The layout is the same for every instruction set, so weights packed once serve them all.
static constexpr int64_t kPanel = 32;

// 16-bit fixed point: integers of up to kFixedMax, so that kFixedRun of them add up without overflow.
static constexpr int kFixedMax = 4095, kFixedRun = 8;
static constexpr int64_t kFixedHeader = 4;  // rows of a panel before the first k; one of zeros follows the last
// Columns c and c + 16 are neighbours: the halves of one 32-bit word, which widen with two shifts.
static constexpr int64_t fixed_place(int64_t c) { return c % 16 * 2 + c / 16; }

static constexpr int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
// Rows of a panel as stored.
static constexpr int64_t padded_depth(DType format, int64_t k) {
    return format == DType::bf16 ? (k + 1) / 2 * 2 : format == DType::i16 ? k + kFixedHeader + 1 : k;
}
static constexpr int64_t bit_words(int64_t n) { return (n + 31) / 32; }
static constexpr int64_t panel_elements(DType format, int64_t k, int64_t n) {
    return panels(n) * padded_depth(format, k) * kPanel;
}
static constexpr int64_t element_size(DType t) { return t == DType::f64 ? 8 : t == DType::f32 ? 4 : 2; }

// What makes a product a convolution: a left operand whose rows are patches of maps, gathered as they are packed.
// A map is height x width x channels; Left::row_stride lies between its rows, in elements or words of bits, and maps
// follow each other. Row (i out_height + y) out_width + x is the patch of map i whose corner is row y stride_y - top,
// column x stride_x - left, its columns are (row, column, channel) of the patch; outside of the map all is 0. With
// gap > 1 there are gap - 1 rows and columns of zeros between those of the map.
struct Patches {
    int32_t height = 0, width = 0, channels = 0;  // height 0: no patches
    int32_t rows = 0, cols = 0;                   // of a patch
    int32_t out_height = 0, out_width = 0;        // patches of a map
    int32_t stride_y = 1, stride_x = 1, top = 0, left = 0, gap = 1;
    bool turned = false;  // the transpose of all that; of values and bits in memory only, not while packing tiles

    constexpr int64_t positions() const { return int64_t(out_height) * out_width; }
    constexpr int64_t taps() const { return int64_t(rows) * cols * channels; }
};

// The left operand, m x k: dense with any strides (in elements), CSR, bits, or patches of dense maps or bits. Row
// weights along k multiply
// column k of it: signs of a contrast, sample weights, or 1 / sigma^2 of Gaussian units; bits have none.
struct Left {
    const void* data = nullptr;  // dense values, or CSR values
    int64_t row_stride = 0, col_stride = 1;
    const int64_t* indptr = nullptr;   // CSR where not null: row i is [indptr[i], indptr[i+1])
    const int32_t* indices = nullptr;  // sorted within a row
    const void* k_scale = nullptr;     // k weights or null
    // Binary states where not null: entry (i, j) is bit j % 32 of bits[i * row_stride + j / 32]; the bits past
    // k of a row's last word are 0.
    const uint32_t* bits = nullptr;
    Patches patches = {};
};

inline Left bit_rows(const uint32_t* bits, int64_t k) {
    return {nullptr, bit_words(k), 1, nullptr, nullptr, nullptr, bits};
}

// One of the products that a sum is made of: left (m x depth) times right (panels of depth x n).
struct Product {
    int64_t depth;
    Left left;
    const void* right;
};

// C (m x n, row-major, leading dimension ldc) = alpha A B + beta C. dtype (f32 or f64) is that of A, C
// and k_scale; `format` that of the multiplication: dtype itself, bf16 with f32 accumulation, or i16 with
// exact integer sums.
struct Gemm {
    int64_t m, n, k;
    Left a;
    const void* b;  // panels of `format`
    void* c;
    int64_t ldc;
    double alpha, beta;
    DType dtype, format;
};

// out[j] = sum_i weight[i] x[i, j] (+ beta out[j]), rows in order; weight may be null (ones). x as Left.
struct ColumnSum {
    int64_t rows, cols;
    Left x;
    const void* weight;
    double beta;
    void* out;
    DType dtype;
};

}  // namespace unsupfast
