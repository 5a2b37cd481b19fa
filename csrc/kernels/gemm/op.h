// Matrix products: the operands that every op built on the GEMM engine shares, and the plain product.
#pragma once
#include "kernel.h"

namespace unsupfast {

// Right operands are stored as column panels 32 columns wide, each contiguous over k, zero-padded:
//   f32, f64:  panel[n / 32][k][n % 32]
//   bf16:      panel[n / 32][k / 2][n % 32][k % 2]      (the pair order of the dot-product instructions)
// The layout is the same for every instruction set, so weights packed once serve them all.
static constexpr int64_t kPanel = 32;

static constexpr int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
static constexpr int64_t padded_depth(DType format, int64_t k) { return format == DType::bf16 ? (k + 1) / 2 * 2 : k; }
static constexpr int64_t panel_elements(DType format, int64_t k, int64_t n) {
    return panels(n) * padded_depth(format, k) * kPanel;
}
static constexpr int64_t element_size(DType t) { return t == DType::f64 ? 8 : t == DType::f32 ? 4 : 2; }

// The left operand, m x k: dense with any strides (in elements), or CSR. Row weights along k multiply
// column k of it: signs of a contrast, sample weights, or 1 / sigma^2 of Gaussian units.
struct Left {
    const void* data = nullptr;  // dense values, or CSR values
    int64_t row_stride = 0, col_stride = 1;
    const int64_t* indptr = nullptr;   // CSR where not null: row i is [indptr[i], indptr[i+1])
    const int32_t* indices = nullptr;  // sorted within a row
    const void* k_scale = nullptr;     // k weights or null
};

// C (m x n, row-major, leading dimension ldc) = alpha A B + beta C. dtype (f32 or f64) is that of A, C
// and k_scale; `format` that of the multiplication: dtype itself, or bf16 with f32 accumulation.
struct Gemm {
    int64_t m, n, k;
    Left a;
    const void* b;  // panels of `format`
    void* c;
    int64_t ldc;
    double alpha, beta;
    DType dtype, format;
};

// dst = panels (format) of the k x n matrix k_scale[i] src[i * row_stride + j * col_stride] (dtype); k_scale
// may be null.
struct PackPanels {
    int64_t k, n;
    const void* src;
    int64_t row_stride, col_stride;
    void* dst;
    DType dtype, format;
    const void* k_scale = nullptr;
};

// From panels of a k x n matrix in dtype (f32 or f64): `turned` = panels of its n x k transpose in
// `format`, `same` = panels of the matrix itself in `format`; either may be null. *nonfinite is set to
// 1 if any entry is Inf or NaN: every trained weight passes through here once a step.
struct TurnPanels {
    int64_t k, n;
    const void* src;
    void *turned, *same;
    int32_t* nonfinite;
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
