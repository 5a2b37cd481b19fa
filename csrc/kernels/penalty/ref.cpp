// Plain loops: the meaning of the penalties.
#include "kernels/penalty/op.h"

#include "kernels/dense/act.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void column_norms(const ColumnNorms& p) {
    for (int64_t j = 0; j < p.n; ++j) {
        T sum = 0;
        for (int64_t i = 0; i < p.k; ++i) {
            const T w = ref::panel_at<T>(p.w, p.dtype, p.k, i, j);
            sum += w * w;
        }
        static_cast<T*>(p.out)[j] = sum;
    }
}

template <class T>
void contraction(const Contraction& p) {
    const T *h = static_cast<const T*>(p.h), *norms = static_cast<const T*>(p.norms);
    T *value = static_cast<T*>(p.value), *by_norms = static_cast<T*>(p.by_norms);
    for (int64_t j = 0; j < p.n; ++j) by_norms[j] = 0;
    for (int64_t i = 0; i < p.m; ++i) {
        value[i] = 0;
        for (int64_t j = 0; j < p.n; ++j) {
            const T y = h[i * p.n + j], a = slope(p.act, y);
            value[i] += a * a * norms[j];
            by_norms[j] += T(p.scale) * a * a;
            static_cast<T*>(p.by_h)[i * p.n + j] = T(p.scale) * 2 * a * curvature(p.act, y) * norms[j];
        }
    }
}

}  // namespace

USF_REF_BY_DTYPE(ColumnNorms, column_norms)
USF_REF_BY_DTYPE(Contraction, contraction)

}  // namespace unsupfast
