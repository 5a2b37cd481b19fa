// Plain loops: the meaning of the dense family.
#include "kernels/dense/op.h"

#include <vector>

#include "kernels/dense/act.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

// What a product of `format` sees of a value.
template <class T>
T rounded(T x, DType format) {
    return format == DType::bf16 ? T(ref::from_bf16(ref::to_bf16(float(x)))) : x;
}

template <class T>
void dense(const Dense& p) {
    const T* bias = static_cast<const T*>(p.bias);
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
            T sum = 0;
            for (int64_t l = 0; l < p.k; ++l) {
                const T w =
                    p.turned ? ref::panel_at<T>(p.w, p.dtype, p.n, j, l) : ref::panel_at<T>(p.w, p.dtype, p.k, l, j);
                sum += rounded(ref::left_at<T>(p.x, i, l), p.format) * rounded(w, p.format);
            }
            static_cast<T*>(p.y)[i * p.n + j] = activate(p.act, bias ? sum + bias[j] : sum);
        }
}

template <class T>
void gate(const Gate& p) {
    const T *g = static_cast<const T*>(p.g), *y = static_cast<const T*>(p.y);
    T *rows = static_cast<T*>(p.rows), *sums = static_cast<T*>(p.sums);
    const auto z = [&](int64_t i, int64_t j) { return g[i * p.n + j] * (y ? slope(p.act, y[i * p.n + j]) : T(1)); };
    if (sums)
        for (int64_t j = 0; j < p.n; ++j) {
            sums[j] = 0;
            for (int64_t i = 0; i < p.m; ++i) sums[j] += z(i, j);
        }
    if (p.panels) ref::fill_panels<T>(p.m, p.n, p.format, p.panels, z);
    if (rows)
        for (int64_t i = 0; i < p.m; ++i)
            for (int64_t j = 0; j < p.n; ++j) rows[i * p.n + j] = z(i, j);
}

template <class T>
void dense_weight(const DenseWeight& p) {
    T* out = static_cast<T*>(p.out);
    for (int64_t j = 0; j < panels(p.n) * kPanel; ++j)
        for (int64_t i = 0; i < p.k; ++i) {
            const int64_t at = ref::panel_index(p.dtype, p.k, i, j);
            T sum = p.beta == 0 ? T(0) : T(p.beta) * out[at];
            if (p.columns && j < p.n) sum += static_cast<const T*>(p.w)[at] * static_cast<const T*>(p.columns)[j];
            out[at] = j < p.n ? sum : T(0);
        }
    for (int64_t q = 0; q < p.count; ++q)
        ref::multiply<T>(p.k, p.n, p.products[q].depth, p.products[q].left, p.products[q].right, p.format,
                         [&](int64_t i, int64_t j, T sum) { out[ref::panel_index(p.dtype, p.k, i, j)] += sum; });
}

template <class T>
void dense_update(const DenseUpdate& p, const Launch& launch) {
    std::vector<T> g(size_t(panel_elements(p.dtype, p.k, p.n)));
    Slice slice = p.step.slices[0];
    dense_weight<T>(DenseWeight{p.k, p.n, p.products, p.count, slice.p, p.columns, 0, g.data(), p.dtype, p.format});
    if (slice.g)
        for (size_t i = 0; i < g.size(); ++i) g[i] += static_cast<const T*>(slice.g)[i];
    slice.g = g.data();
    Optimise step = p.step;
    step.slices = &slice;
    Optimise_ref(step, launch);
}

}  // namespace

USF_REF_BY_DTYPE(Dense, dense)
USF_REF_BY_DTYPE(Gate, gate)
USF_REF_BY_DTYPE(DenseWeight, dense_weight)
USF_KERNEL(ref, DenseUpdate) {
    p.dtype == DType::f64 ? dense_update<double>(p, launch) : dense_update<float>(p, launch);
}

}  // namespace unsupfast
