// Element access and the triple loop that reference kernels share.
#pragma once
#include <bit>
#include <cmath>

#include "kernels/gemm/op.h"
#include "kernels/gemm/patches.h"

#define USF_REF_BY_DTYPE(P, f)                              \
    USF_KERNEL(ref, P) {                                    \
        (void)launch;                                       \
        p.dtype == DType::f64 ? f<double>(p) : f<float>(p); \
    }

namespace unsupfast::ref {

// bfloat16, round to nearest even; NaN stays NaN.
inline uint16_t to_bf16(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    if (x != x) return uint16_t((u >> 16) | 64u);
    return uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
inline float from_bf16(uint16_t b) { return std::bit_cast<float>(uint32_t(b) << 16); }

// Element (i, j) of the left operand, without k_scale.
template <class T>
T left_at(const Left& a, int64_t i, int64_t j) {
    const T* data = static_cast<const T*>(a.data);
    if (a.patches.height) {
        const PatchPlace at = patch_place(a.patches, i, j);
        if (at.row < 0) return T(0);
        if (a.bits) return T(a.bits[at.row * a.row_stride + at.element / 32] >> at.element % 32 & 1);
        return data[at.row * a.row_stride + at.element];
    }
    if (a.bits) return T(a.bits[i * a.row_stride + j / 32] >> j % 32 & 1);
    if (!a.indptr) return data[i * a.row_stride + j * a.col_stride];
    for (int64_t e = a.indptr[i]; e < a.indptr[i + 1]; ++e)
        if (a.indices[e] == j) return data[e];
    return T(0);
}

inline int64_t panel_index(DType format, int64_t k, int64_t i, int64_t j) {
    const int64_t panel = j / kPanel * padded_depth(format, k) * kPanel;
    if (format == DType::bf16) return panel + (i / 2 * kPanel + j % kPanel) * 2 + i % 2;
    if (format == DType::i16) return panel + (i + kFixedHeader) * kPanel + fixed_place(j % kPanel);
    return panel + i * kPanel + j % kPanel;
}

// Step and sum of column j of a panel in 16-bit fixed point.
struct FixedColumn {
    float* step;
    int32_t* sum;
};
inline FixedColumn fixed_column(const void* b, int64_t k, int64_t j) {
    char* panel =
        const_cast<char*>(static_cast<const char*>(b)) + j / kPanel * padded_depth(DType::i16, k) * kPanel * 2;
    return {reinterpret_cast<float*>(panel) + j % kPanel, reinterpret_cast<int32_t*>(panel) + kPanel + j % kPanel};
}

template <class T>
T panel_at(const void* b, DType format, int64_t k, int64_t i, int64_t j) {
    const int64_t at = panel_index(format, k, i, j);
    if (format == DType::i16) return T(*fixed_column(b, k, j).step) * T(static_cast<const int16_t*>(b)[at]);
    return format == DType::bf16 ? T(from_bf16(static_cast<const uint16_t*>(b)[at])) : static_cast<const T*>(b)[at];
}

// Writes all panels of the k x n matrix value(i, j), padding with zeros.
template <class T, class F>
void fill_panels(int64_t k, int64_t n, DType format, void* dst, F value) {
    for (int64_t j = 0; format == DType::i16 && j < panels(n) * kPanel; ++j) {
        const FixedColumn column = fixed_column(dst, k, j);
        float peak = 0;
        for (int64_t i = 0; i < k; ++i) peak = std::fmax(peak, j < n ? std::fabs(float(value(i, j))) : 0.f);
        const float scale = peak > 0 ? kFixedMax / peak : 0.f;
        *column.step = peak / kFixedMax;
        *column.sum = 0;
        static_cast<int16_t*>(dst)[panel_index(format, k, k, j)] = 0;
        for (int64_t i = 0; i < k; ++i) {
            const auto q = int16_t(j < n ? std::nearbyint(float(value(i, j)) * scale) : 0.f);
            static_cast<int16_t*>(dst)[panel_index(format, k, i, j)] = q;
            *column.sum += q;
        }
    }
    if (format == DType::i16) return;
    for (int64_t j = 0; j < panels(n) * kPanel; ++j)
        for (int64_t i = 0; i < padded_depth(format, k); ++i) {
            const T x = i < k && j < n ? value(i, j) : T(0);
            const int64_t at = panel_index(format, k, i, j);
            if (format == DType::bf16)
                static_cast<uint16_t*>(dst)[at] = to_bf16(float(x));
            else
                static_cast<T*>(dst)[at] = x;
        }
}

// finish(i, j, sum over k) for every element of A B
template <class T, class F>
void multiply(int64_t m, int64_t n, int64_t k, const Left& a, const void* b, DType format, F finish) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            T sum = 0;
            for (int64_t l = 0; l < k; ++l) {
                T x = left_at<T>(a, i, l);
                if (a.k_scale) x *= static_cast<const T*>(a.k_scale)[l];
                if (format == DType::bf16) x = T(from_bf16(to_bf16(float(x))));
                sum += x * panel_at<T>(b, format, k, l, j);
            }
            finish(i, j, sum);
        }
}

}  // namespace unsupfast::ref
