// Every kind of unit on vectors, a row at a time: what is here is little beside the product that made the fields.
#include "kernels/units/op.h"

#include "kernels/gemm/engine.h"
#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

#define USF_BOTH inline
#include "kernels/units/functions.h"

enum UnitScratch : int { kFieldScratch = 4, kCumulativeScratch = 5 };

template <class T>
T log_sum_exp(const T* x, int64_t n, T factor) {
    constexpr int L = kLanes<T>;
    T top = factor * x[0];
    for (int64_t j = 0; j < n; ++j) top = factor * x[j] > top ? factor * x[j] : top;
    Vec<T> sums{};
    for (int64_t j = 0; j < n; j += L) sums += first_n<T>(exp(load_n(x + j, n - j) * factor - top), n - j);
    return top + log(splat(sum<T>(sums)))[0];
}

// One group of which one unit is on, or the counts of all.
template <class T>
void choose(const Conditional& p, const Launch& launch, int64_t i, int64_t begin, const T* x, int64_t n) {
    constexpr int L = kLanes<T>;
    const bool counts = p.unit == Unit::multinomial;
    const int64_t draws = p.totals ? int64_t(static_cast<const T*>(p.totals)[i]) : 1;
    const T all = log_sum_exp<T>(x, n, T(1));
    if (p.log_partition)
        static_cast<T*>(p.log_partition)[i] +=
            T(draws) * (all - (p.ratio < 0 ? T(0) : log_sum_exp<T>(x, n, T(p.ratio))));
    T* mean = p.mean ? static_cast<T*>(p.mean) + i * p.out_stride + begin : nullptr;
    T* sample = p.sample ? static_cast<T*>(p.sample) + i * p.out_stride + begin : nullptr;
    T* passed = static_cast<T*>(launch.scratch(kCumulativeScratch, size_t(n + L) * sizeof(T)));
    if (!mean && !sample) return;
    for (int64_t j = 0; j < n; j += L) {
        const Vec<T> q = exp(load_n(x + j, n - j) - all);
        store(passed + j, q);
        if (mean) store_n(mean + j, q * T(draws), n - j);
    }
    if (!sample) return;
    T sum = 0;
    for (int64_t j = 0; j < n; ++j) {
        passed[j] = sum += passed[j];
        sample[j] = 0;
    }
    for (int64_t d = 0; d < draws; ++d) {
        const T u = philox_uniform(p.draw.seed, p.first_unit + uint32_t(counts ? d : begin),
                                   p.draw.first_row + uint32_t(i), step_of(p.draw), p.draw.stream);
        int64_t low = 0, high = n - 1;  // the first j with u < passed[j], else the last
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (u < passed[middle])
                high = middle;
            else
                low = middle + 1;
        }
        sample[low] += T(1);
    }
}

template <class T>
void conditional(const Conditional& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T *field = static_cast<const T*>(p.field), *bias = static_cast<const T*>(p.bias);
    const T *a = static_cast<const T*>(p.shape[0]), *b = static_cast<const T*>(p.shape[1]);
    const bool grouped = p.unit == Unit::softmax || p.unit == Unit::multinomial;
    const Vec<T> none = splat(T(p.unit == Unit::gaussian));  // sigma, or a gap
    T *mean = static_cast<T*>(p.mean), *sample = static_cast<T*>(p.sample), *log_z = static_cast<T*>(p.log_partition);
    const T ratio = T(p.ratio);
    parallel_for(launch, p.m, [&](int64_t first, int64_t last) {
        T* x = grouped ? static_cast<T*>(launch.scratch(kFieldScratch, size_t(p.n + L) * sizeof(T))) : nullptr;
        for (int64_t i = first; i < last; ++i) {
            const T weight = p.bias_weight ? static_cast<const T*>(p.bias_weight)[i] : T(1);
            const auto fields = [&](int64_t j) {
                return load_n(field + i * p.field_stride + j, p.n - j) * T(p.scale) +
                       load_n(bias + j, p.n - j) * weight;
            };
            if (grouped) {
                for (int64_t j = 0; j < p.n; j += L) store(x + j, fields(j));
                const int64_t group = p.unit == Unit::softmax ? p.group : p.n;
                for (int64_t g = 0; g < p.n; g += group) choose<T>(p, launch, i, g, x + g, group);
                continue;
            }
            Vec<T> terms{};
            const uint32_t unit = p.first_unit;
            alignas(64) float u[1][kPanel];
            int64_t drawn = -1;  // the panel of uniforms in u
            for (int64_t j = 0; j < p.n; j += L) {
                const int64_t n = p.n - j;
                const Vec<T> z = fields(j), aj = a ? load_n(a + j, n) : none, bj = b ? load_n(b + j, n) : Vec<T>{};
                if (log_z) {
                    Vec<T> term = log_partition_of<T>(p.unit, z, aj, bj);
                    if (ratio >= 0) term -= log_partition_of<T>(p.unit, Vec<T>(z * ratio), aj, bj);
                    terms += first_n<T>(term, n);
                }
                if (mean) store_n(mean + i * p.out_stride + j, mean_of<T>(p.unit, z, aj, bj), n);
                if (!sample) continue;
                // panels of uniforms start at multiples of 32, which a segment need not
                Vec<T> draw{};
                for (int64_t lane = 0; lane < least(L, n); ++lane) {
                    const int64_t at = int64_t(unit) + j + lane;
                    if (at / kPanel != drawn)
                        uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(i), 1,
                                     uint32_t((drawn = at / kPanel) * kPanel), u);
                    draw[lane] = u[0][at % kPanel];
                }
                store_n(sample + i * p.out_stride + j, sample_of<T>(p.unit, z, aj, bj, draw), n);
            }
            if (log_z) log_z[i] += sum<T>(terms);
        }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Conditional, conditional)

}  // namespace unsupfast
