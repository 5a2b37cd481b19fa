// Plain loops: the meaning of the latent family.
#include "kernels/latent/op.h"

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void latent(const Latent& p) {
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
            const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
            const T mean = head[j], log_variance = head[p.n + j];
            if (p.kl)
                static_cast<T*>(p.kl)[i * p.n + j] = T(0.5) * (mean * mean + std::expm1(log_variance) - log_variance);
            if (!p.z) continue;
            for (int64_t s = 0; s < p.samples; ++s) {
                const int64_t row = i * p.samples + s;
                const T u = philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(row), step_of(p.draw),
                                           p.draw.stream);
                const T eps = probit(u);
                static_cast<T*>(p.eps)[row * p.n + j] = eps;
                static_cast<T*>(p.z)[row * p.n + j] = mean + std::exp(log_variance / 2) * eps;
            }
        }
}

template <class T>
void latent_grad(const LatentGrad& p) {
    const T *eps = static_cast<const T*>(p.eps), *gz = static_cast<const T*>(p.gz);
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
            const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
            const T k = p.gkl ? static_cast<const T*>(p.gkl)[i * p.n + j] : T(0);
            T by_mean = k * head[j], by_log_variance = k * T(0.5) * std::expm1(head[p.n + j]);
            if (gz)
                for (int64_t s = 0; s < p.samples; ++s) {
                    const int64_t at = (i * p.samples + s) * p.n + j;
                    by_mean += gz[at];
                    by_log_variance += gz[at] * eps[at] * T(0.5) * std::exp(head[p.n + j] / 2);
                }
            T* out = static_cast<T*>(p.ghead) + i * 2 * p.n;
            out[j] = by_mean;
            out[p.n + j] = by_log_variance;
        }
}

}  // namespace

USF_REF_BY_DTYPE(Latent, latent)
USF_REF_BY_DTYPE(LatentGrad, latent_grad)

}  // namespace unsupfast
