// Plain loops: the meaning of the layouts.
#include "kernels/layout/op.h"

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void pack_panels(const PackPanels& p) {
    const T* src = static_cast<const T*>(p.src);
    ref::fill_panels<T>(p.k, p.n, p.format, p.dst, [&](int64_t i, int64_t j) {
        const T scale = p.k_scale ? static_cast<const T*>(p.k_scale)[i] : T(1);
        return src[i * p.row_stride + j * p.col_stride] * scale;
    });
}

template <class T>
void turn_panels(const TurnPanels& p) {
    const auto at = [&](int64_t i, int64_t j) { return ref::panel_at<T>(p.src, p.dtype, p.k, i, j); };
    if (p.turned) ref::fill_panels<T>(p.n, p.k, p.format, p.turned, [&](int64_t i, int64_t j) { return at(j, i); });
    if (p.same) ref::fill_panels<T>(p.k, p.n, p.format, p.same, at);
    if (p.nonfinite)
        for (int64_t i = 0; i < p.k; ++i)
            for (int64_t j = 0; j < p.n; ++j)
                if (!std::isfinite(at(i, j))) *p.nonfinite = 1;
}

template <class T>
void pack_bits(const PackBits& p) {
    for (int64_t i = 0; i < p.count; ++i) {
        const T* row = static_cast<const T*>(p.src) + (p.order ? p.order[i] : i) * p.row_stride;
        uint32_t* to = p.dst + i * bit_words(p.cols);
        for (int64_t w = 0; w < bit_words(p.cols); ++w) to[w] = 0;
        for (int64_t j = 0; j < p.cols; ++j) {
            if (p.other && row[j] != T(0) && row[j] != T(1)) *p.other = 1;
            to[j / 32] |= uint32_t(row[j] != T(0)) << j % 32;
        }
    }
}

template <class T>
void unpack_bits(const UnpackBits& p) {
    for (int64_t i = 0; i < p.count; ++i)
        for (int64_t j = 0; j < p.cols; ++j)
            static_cast<T*>(p.dst)[i * p.cols + j] = T(p.src[i * bit_words(p.cols) + j / 32] >> j % 32 & 1u);
}

}  // namespace

USF_REF_BY_DTYPE(PackPanels, pack_panels)
USF_REF_BY_DTYPE(TurnPanels, turn_panels)
USF_REF_BY_DTYPE(PackBits, pack_bits)
USF_REF_BY_DTYPE(UnpackBits, unpack_bits)

USF_KERNEL(ref, TurnBits) {
    (void)launch;
    const int64_t in = bit_words(p.cols), out = bit_words(p.rows);
    for (int64_t i = 0; i < p.cols * out; ++i) p.dst[i] = 0;
    for (int64_t r = 0; r < p.rows; ++r)
        for (int64_t c = 0; c < p.cols; ++c)
            p.dst[c * out + r / 32] |= (p.src[r * in + c / 32] >> c % 32 & 1u) << r % 32;
}

}  // namespace unsupfast
