// Plain loops: the meaning of the GEMM family, in the precision of the operands.
#include "kernels/gemm/op.h"

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void gemm(const Gemm& p) {
    T* c = static_cast<T*>(p.c);
    ref::multiply<T>(p.m, p.n, p.k, p.a, p.b, p.format, [&](int64_t i, int64_t j, T sum) {
        T& out = c[i * p.ldc + j];
        out = T(p.alpha) * sum + (p.beta == 0 ? T(0) : T(p.beta) * out);
    });
}

template <class T>
void column_sum(const ColumnSum& p) {
    T* out = static_cast<T*>(p.out);
    for (int64_t j = 0; j < p.cols; ++j) out[j] = p.beta == 0 ? T(0) : T(p.beta) * out[j];
    for (int64_t i = 0; i < p.rows; ++i)
        for (int64_t j = 0; j < p.cols; ++j)
            out[j] += (p.weight ? static_cast<const T*>(p.weight)[i] : T(1)) * ref::left_at<T>(p.x, i, j);
}

}  // namespace

USF_REF_BY_DTYPE(Gemm, gemm)
USF_REF_BY_DTYPE(ColumnSum, column_sum)

}  // namespace unsupfast
