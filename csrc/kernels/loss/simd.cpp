// Losses, value and gradient in one pass over a row.
#include "kernels/loss/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

// max(z, 0) + log(1 + exp(-|z|)), and the sigmoid, from one exponential
template <class T>
void softplus_and_sigmoid(Vec<T> z, Vec<T>& value, Vec<T>& mean) {
    value = softplus(z);
    mean = sigmoid(z);
}
template <>
void softplus_and_sigmoid<float>(vf32 z, vf32& value, vf32& mean) {
    const vf32 e = exp(z < 0.f ? z : -z);
    const vf32 r = 1.f / (1.f + e);
    mean = z < 0.f ? e * r : r;
    const vi32 large = e > 0.414213562f;
    value = max<float>(z, vf32{}) + log1p_core(large ? (e - 1.f) * 0.5f : e) + (large ? splat(0.693147181f) : vf32{});
}

template <class T, Loss kLoss>
void rows(const Likelihood& p, int64_t begin, int64_t end) {
    constexpr int L = kLanes<T>;
    for (int64_t i = begin; i < end; ++i) {
        const T* z = static_cast<const T*>(p.z) + i * p.n;
        const T* x = static_cast<const T*>(p.x) + i / p.repeat * p.n;
        T* grad = p.grad ? static_cast<T*>(p.grad) + i * p.n : nullptr;
        T scale = T(p.scale) * (p.row_scale ? static_cast<const T*>(p.row_scale)[i] : T(1));
        if constexpr (kLoss == Loss::squared) scale *= 2;
        T top = 0, total = 0, mass = 0, first = 0;
        if constexpr (kLoss == Loss::categorical) {
            if (p.n > 0) top = z[0];
            for (int64_t j = 0; j < p.n; ++j) top = z[j] > top ? z[j] : top;
            Vec<T> sums{}, masses{};
            for (int64_t j = 0; j < p.n; j += L) {
                const int64_t n = least(p.n - j, L);
                sums += first_n<T>(exp(load_n(z + j, n) - top), n);
                masses += load_n(x + j, n);
            }
            total = sum<T>(sums);
            mass = sum<T>(masses);
            if (p.n > 0) first = mass * (top + log(splat(total))[0]);
        }
        Vec<T> value{};
        for (int64_t j = 0; j < p.n; j += L) {
            const int64_t n = least(p.n - j, L);
            const Vec<T> a = load_n(z + j, n), b = load_n(x + j, n);
            Vec<T> mean = a, term;
            if constexpr (kLoss == Loss::squared) {
                term = (a - b) * (a - b);
            } else if constexpr (kLoss == Loss::bernoulli) {
                softplus_and_sigmoid<T>(a, term, mean);
                term -= b * a;
            } else if constexpr (kLoss == Loss::continuous_bernoulli) {
                term = continuous_norm<T>(a) - b * a;
                if (grad) mean = continuous_mean<T>(a);
            } else {
                term = -(b * a);
                mean = exp(a - top) * (mass / total);
            }
            value += first_n<T>(term, n);
            if (grad) store_n(grad + j, (mean - b) * scale, n);
        }
        if (p.value) static_cast<T*>(p.value)[i] = first + sum<T>(value);
    }
}

template <class T>
void likelihood(const Likelihood& p, const Launch& launch) {
    parallel_for(launch, p.m, [&](int64_t begin, int64_t end) {
        switch (p.loss) {
            case Loss::squared:
                return rows<T, Loss::squared>(p, begin, end);
            case Loss::bernoulli:
                return rows<T, Loss::bernoulli>(p, begin, end);
            case Loss::continuous_bernoulli:
                return rows<T, Loss::continuous_bernoulli>(p, begin, end);
            case Loss::categorical:
                return rows<T, Loss::categorical>(p, begin, end);
        }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Likelihood, likelihood)

}  // namespace unsupfast
