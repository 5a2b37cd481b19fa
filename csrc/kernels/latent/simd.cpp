// Reparameterised codes and their divergence in one pass.
#include "kernels/latent/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
void latent(const Latent& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    T *z = static_cast<T*>(p.z), *eps = static_cast<T*>(p.eps), *kl = static_cast<T*>(p.kl);
    parallel_for(launch, p.m, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j0 = 0; j0 < p.n; j0 += 32) {
                const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
                const int64_t stop = least(j0 + 32, p.n);
                if (kl)
                    for (int64_t j = j0; j < stop; j += L) {
                        const int64_t n = least(stop - j, L);
                        const Vec<T> mean = load_n(head + j, n), log_variance = load_n(head + p.n + j, n);
                        const Vec<T> rest = exp(log_variance) - T(1) - log_variance;
                        store_n(kl + i * p.n + j, (mean * mean + rest) * T(0.5), n);
                    }
                if (!z) continue;
                for (int64_t row = i * p.samples; row < (i + 1) * p.samples; ++row) {
                    alignas(64) float u[2][32];
                    uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(row), 1,
                                 uint32_t(j0), u);
                    for (int64_t j = j0; j < stop; j += L) {
                        const int64_t n = least(stop - j, L);
                        const Vec<T> e = probit(from_floats<T>(u[0] + j - j0));
                        const Vec<T> sigma = exp(load_n(head + p.n + j, n) * T(0.5));
                        store_n(eps + row * p.n + j, e, n);
                        store_n(z + row * p.n + j, load_n(head + j, n) + sigma * e, n);
                    }
                }
            }
    });
}

template <class T>
void latent_grad(const LatentGrad& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T *eps = static_cast<const T*>(p.eps), *gz = static_cast<const T*>(p.gz);
    const T* gkl = static_cast<const T*>(p.gkl);
    parallel_for(launch, p.m, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = 0; j < p.n; j += L) {
                const int64_t n = least(p.n - j, L);
                const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
                const Vec<T> mean = load_n(head + j, n), log_variance = load_n(head + p.n + j, n);
                Vec<T> by_mean{}, by_log_variance{};
                if (gkl) {
                    const Vec<T> k = load_n(gkl + i * p.n + j, n);
                    by_mean = k * mean;
                    by_log_variance = k * (exp(log_variance) - T(1)) * T(0.5);
                }
                if (gz) {
                    const Vec<T> half_sigma = exp(log_variance * T(0.5)) * T(0.5);
                    for (int64_t row = i * p.samples; row < (i + 1) * p.samples; ++row) {
                        const Vec<T> g = load_n(gz + row * p.n + j, n);
                        by_mean += g;
                        by_log_variance += g * load_n(eps + row * p.n + j, n) * half_sigma;
                    }
                }
                T* out = static_cast<T*>(p.ghead) + i * 2 * p.n;
                store_n(out + j, by_mean, n);
                store_n(out + p.n + j, by_log_variance, n);
            }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Latent, latent)
USF_KERNEL_BY_DTYPE(LatentGrad, latent_grad)

}  // namespace unsupfast
