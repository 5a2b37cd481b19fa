// Reparameterised codes on the GPU: a thread a latent dimension of a row.
#include "kernels/latent/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256) latent_kernel(const __grid_constant__ Latent p) {
    const int64_t item = int64_t(blockIdx.x) * 256 + threadIdx.x, i = item / p.n, j = item % p.n;
    if (i >= p.m) return;
    const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
    const T mean = head[j], log_variance = head[p.n + j];
    if (p.kl) static_cast<T*>(p.kl)[item] = T(0.5) * (mean * mean + T(expm1(log_variance)) - log_variance);
    if (!p.z) return;
    const T sigma = exp(log_variance / T(2));
    for (int64_t row = i * p.samples; row < (i + 1) * p.samples; ++row) {
        const T eps = probit(T(philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(row),
                                              step_of(p.draw), p.draw.stream)));
        static_cast<T*>(p.eps)[row * p.n + j] = eps;
        static_cast<T*>(p.z)[row * p.n + j] = mean + sigma * eps;
    }
}

template <class T>
__global__ void __launch_bounds__(256) latent_grad_kernel(const __grid_constant__ LatentGrad p) {
    const int64_t item = int64_t(blockIdx.x) * 256 + threadIdx.x, i = item / p.n, j = item % p.n;
    if (i >= p.m) return;
    const T* head = static_cast<const T*>(p.head) + i * 2 * p.n;
    const T *eps = static_cast<const T*>(p.eps), *gz = static_cast<const T*>(p.gz);
    const T k = p.gkl ? static_cast<const T*>(p.gkl)[item] : T(0), half_sigma = T(0.5) * exp(head[p.n + j] / T(2));
    T by_mean = k * head[j], by_log_variance = k * T(0.5) * T(expm1(head[p.n + j]));
    for (int64_t row = i * p.samples; gz && row < (i + 1) * p.samples; ++row) {
        by_mean += gz[row * p.n + j];
        by_log_variance += gz[row * p.n + j] * eps[row * p.n + j] * half_sigma;
    }
    T* out = static_cast<T*>(p.ghead) + i * 2 * p.n;
    out[j] = by_mean;
    out[p.n + j] = by_log_variance;
}

template <class T>
void latent(const Latent& p, const Launch& launch) {
    start(launch, (p.m * p.n + 255) / 256, 256, latent_kernel<T>, p);
}

template <class T>
void latent_grad(const LatentGrad& p, const Launch& launch) {
    start(launch, (p.m * p.n + 255) / 256, 256, latent_grad_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Latent, cuda::latent)
USF_CUDA_KERNEL_BY_DTYPE(LatentGrad, cuda::latent_grad)

}  // namespace unsupfast
