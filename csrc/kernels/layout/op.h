// Operands of products brought into the layouts of gemm/op.h: panels, their transposes, bits.
#pragma once
#include "kernels/gemm/op.h"

namespace unsupfast {

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

// dst = `count` rows of zeros and ones (dtype) as bits: row i is row order[i] of src, or row i where order is
// null. *other, where not null, is set to 1 if a value is neither 0 nor 1.
struct PackBits {
    int64_t count, cols;
    const void* src;
    int64_t row_stride;
    const int64_t* order;
    uint32_t* dst;
    int32_t* other;
    DType dtype;
};

// dst (count x cols, dtype) = rows of bits as zeros and ones
struct UnpackBits {
    int64_t count, cols;
    const uint32_t* src;
    void* dst;
    DType dtype;
};

// dst = the transpose of rows x cols bits, in rows of bit_words(rows) words.
struct TurnBits {
    int64_t rows, cols;
    const uint32_t* src;
    uint32_t* dst;
};

}  // namespace unsupfast
