// Plain loops. Most are what the CPU runs: next to the products of an update they are nothing.
#include "kernels/contrast/parts.h"

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void gradient(const ContrastGradient& p) {
    for (int64_t i = 0; i < p.visibles; ++i) contrast_visible<T>(p, i);
    for (int64_t j = 0; j < p.hiddens; ++j) contrast_hidden<T>(p, j);
}

template <class T>
void selective(const SelectiveTargets& p) {
    for (int64_t b = 0; b < p.rows; ++b)
        for (int64_t j = 0; j < p.n; ++j) rank_in_row<T>(p, b, j);
    for (int64_t b = 0; b < p.rows; ++b)
        for (int64_t j = 0; j < p.n; ++j) towards_target<T>(p, b, j);
}

template <class T>
void steps(const MomentumStep& p) {
    for (int s = 0; s < p.count; ++s)
        for (int64_t i = 0; i < p.slices[s].n; ++i)
            if (!momentum_step<T>(p.slices[s], p.rate, p.momentum, i) && p.slices[s].nonfinite)
                *p.slices[s].nonfinite = 1;
}

template <class T>
void by_variance(const VarianceGradient& p) {
    for (int64_t i = p.begin; i < p.end; ++i) variance_gradient<T>(p, i);
}

template <class T>
void of_variances(const Variances& p) {
    for (int64_t i = 0; i < p.n; ++i) variances<T>(p, i);
}

template <class T>
void by_shape(const ShapeGradient& p) {
    for (int64_t j = p.begin; j < p.end; ++j) shape_gradient<T>(p, j);
}

template <class T>
void weigh(const WeighAnnealed& p) {
    const T* log_z = static_cast<const T*>(p.log_z);
    for (int64_t i = 0; i < p.rows; ++i)
        p.log_weight[i] +=
            (log_z ? p.sign * double(log_z[i]) : 0) + (p.factor != 0 ? p.factor * shifted_sum<T>(p, i, 0, 1) : 0);
}

}  // namespace

USF_REF_BY_DTYPE(ContrastGradient, gradient)
USF_REF_BY_DTYPE(SelectiveTargets, selective)
USF_REF_BY_DTYPE(MomentumStep, steps)
USF_REF_BY_DTYPE(VarianceGradient, by_variance)
USF_REF_BY_DTYPE(Variances, of_variances)
USF_REF_BY_DTYPE(ShapeGradient, by_shape)
USF_REF_BY_DTYPE(WeighAnnealed, weigh)

}  // namespace unsupfast
