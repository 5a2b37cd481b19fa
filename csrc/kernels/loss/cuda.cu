// Losses on the GPU: a warp a row.
#include "kernels/loss/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kRowsPerBlock = 8;

template <class T>
__global__ void __launch_bounds__(32 * kRowsPerBlock) likelihood_kernel(const __grid_constant__ Likelihood p) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t i = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
    if (i >= p.m) return;
    const T* z = static_cast<const T*>(p.z) + i * p.n;
    const T* x = static_cast<const T*>(p.x) + i / p.repeat * p.n;
    const T scale = T(p.scale) * (p.row_scale ? static_cast<const T*>(p.row_scale)[i] : T(1));
    T top(0), total(0), mass(0), value(0);
    if (p.loss == Loss::categorical && p.n > 0) {
        top = z[0];
        for (int64_t j = lane; j < p.n; j += 32) top = z[j] > top ? z[j] : top;
        for (int d = 16; d; d /= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, top, d);
            top = other > top ? other : top;
        }
        for (int64_t j = lane; j < p.n; j += 32) {
            total += exp(z[j] - top);
            mass += x[j];
        }
        total = sum_lanes<32>(total);
        mass = sum_lanes<32>(mass);
    }
    for (int64_t j = lane; j < p.n; j += 32) {
        const T a = z[j], b = x[j];
        T mean = a;
        switch (p.loss) {
            case Loss::squared:
                value += (a - b) * (a - b);
                break;
            case Loss::bernoulli:
                value += softplus(a) - b * a;
                mean = sigmoid(a);
                break;
            case Loss::continuous_bernoulli:
                value += continuous_norm(a) - b * a;
                mean = continuous_mean(a);
                break;
            case Loss::categorical:
                value -= b * a;
                mean = mass * exp(a - top) / total;
                break;
        }
        const T factor = p.loss == Loss::squared ? T(2) * scale : scale;
        if (p.grad) static_cast<T*>(p.grad)[i * p.n + j] = factor * (mean - b);
    }
    value = sum_lanes<32>(value);
    if (p.loss == Loss::categorical && p.n > 0) value += mass * (top + log(total));
    if (p.value && lane == 0) static_cast<T*>(p.value)[i] = value;
}

template <class T>
void likelihood(const Likelihood& p, const Launch& launch) {
    start(launch, (p.m + kRowsPerBlock - 1) / kRowsPerBlock, 32 * kRowsPerBlock, likelihood_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Likelihood, cuda::likelihood)

}  // namespace unsupfast
