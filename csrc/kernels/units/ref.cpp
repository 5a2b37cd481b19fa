// Plain loops: the meaning of every kind of unit.
#include "kernels/units/op.h"

#include <vector>

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

using std::exp, std::log, std::sqrt, std::tanh;
#define USF_BOTH
#include "kernels/units/functions.h"

// Groups of which one unit is on, or counts: a row at a time.
template <class T>
void choose(const Conditional& p, int64_t i, const std::vector<T>& x) {
    const bool counts = p.unit == Unit::multinomial;
    const int64_t group = counts ? p.n : p.group, draws = p.totals ? int64_t(static_cast<const T*>(p.totals)[i]) : 1;
    for (int64_t g = 0; g < p.n; g += group) {
        const auto log_sum = [&](T factor) {
            T top = factor * x[size_t(g)], sum = 0;
            for (int64_t j = g; j < g + group; ++j) top = std::max(top, factor * x[size_t(j)]);
            for (int64_t j = g; j < g + group; ++j) sum += exp(factor * x[size_t(j)] - top);
            return top + log(sum);
        };
        const T all = log_sum(T(1));
        if (p.log_partition)
            static_cast<T*>(p.log_partition)[i] += T(draws) * (all - (p.ratio < 0 ? T(0) : log_sum(T(p.ratio))));
        T *mean = static_cast<T*>(p.mean), *sample = static_cast<T*>(p.sample);
        for (int64_t j = g; mean && j < g + group; ++j) mean[i * p.out_stride + j] = T(draws) * exp(x[size_t(j)] - all);
        if (!sample) continue;
        for (int64_t j = g; j < g + group; ++j) sample[i * p.out_stride + j] = 0;
        for (int64_t d = 0; d < draws; ++d) {
            const T u = philox_uniform(p.draw.seed, p.first_unit + uint32_t(counts ? d : g),
                                       p.draw.first_row + uint32_t(i), step_of(p.draw), p.draw.stream);
            T passed = 0;
            int64_t j = g;
            for (; j < g + group - 1; ++j)
                if (u < (passed += exp(x[size_t(j)] - all))) break;
            sample[i * p.out_stride + j] += T(1);
        }
    }
}

template <class T>
void conditional(const Conditional& p) {
    std::vector<T> x(size_t(p.n));
    const T *field = static_cast<const T*>(p.field), *bias = static_cast<const T*>(p.bias),
            *weight = static_cast<const T*>(p.bias_weight);
    const T *a = static_cast<const T*>(p.shape[0]), *b = static_cast<const T*>(p.shape[1]);
    const T none = T(p.unit == Unit::gaussian);  // sigma, or a gap
    T *mean = static_cast<T*>(p.mean), *sample = static_cast<T*>(p.sample), *log_z = static_cast<T*>(p.log_partition);
    for (int64_t i = 0; i < p.m; ++i) {
        for (int64_t j = 0; j < p.n; ++j)
            x[size_t(j)] = T(p.scale) * field[i * p.field_stride + j] + (weight ? weight[i] : T(1)) * bias[j];
        if (p.unit == Unit::softmax || p.unit == Unit::multinomial) {
            choose<T>(p, i, x);
            continue;
        }
        for (int64_t j = 0; j < p.n; ++j) {
            const T xj = x[size_t(j)], aj = a ? a[j] : none, bj = b ? b[j] : T(0);
            if (log_z)
                log_z[i] += log_partition_of<T>(p.unit, xj, aj, bj) -
                            (p.ratio < 0 ? T(0) : log_partition_of<T>(p.unit, T(p.ratio) * xj, aj, bj));
            if (mean) mean[i * p.out_stride + j] = mean_of<T>(p.unit, xj, aj, bj);
            if (!sample) continue;
            const T u = philox_uniform(p.draw.seed, p.first_unit + uint32_t(j), p.draw.first_row + uint32_t(i),
                                       step_of(p.draw), p.draw.stream);
            sample[i * p.out_stride + j] = sample_of<T>(p.unit, xj, aj, bj, u);
        }
    }
}

}  // namespace

USF_REF_BY_DTYPE(Conditional, conditional)

}  // namespace unsupfast
