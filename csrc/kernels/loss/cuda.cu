// Losses on the GPU: a warp a row, or a block a row where rows are long.
#include "kernels/loss/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int64_t kLong = 128;

// Sums and maxima over the threads of a row: a warp, or a block.
template <class T, bool kBlock>
struct Row {
    template <class Join>
    static __device__ T all(T x, const Join& join) {
        for (int d = 16; d; d /= 2) x = join(x, __shfl_xor_sync(0xffffffffu, x, d));
        if constexpr (kBlock) {
            __shared__ T part[kWarps];
            __syncthreads();  // what was there is read
            if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
            __syncthreads();
            x = part[0];
            for (int w = 1; w < kWarps; ++w) x = join(x, part[w]);
        }
        return x;
    }
    static __device__ T sum(T x) {
        return all(x, [](T a, T b) { return a + b; });
    }
    static __device__ T largest(T x) {
        return all(x, [](T a, T b) { return b > a ? b : a; });
    }
};

template <class T, bool kBlock>
__global__ void __launch_bounds__(kThreads) likelihood_kernel(const __grid_constant__ Likelihood p) {
    using Row = Row<T, kBlock>;
    constexpr int kLanes = kBlock ? kThreads : 32;
    const int lane = int(threadIdx.x) % kLanes;
    const int64_t i = kBlock ? int64_t(blockIdx.x) : int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
    if (i >= p.m) return;
    const T* __restrict__ z = static_cast<const T*>(p.z) + i * p.n;
    const T* __restrict__ x = static_cast<const T*>(p.x) + i / p.repeat * p.n;
    T* __restrict__ grad = p.grad ? static_cast<T*>(p.grad) + i * p.n : nullptr;
    const T scale = T(p.scale) * (p.row_scale ? static_cast<const T*>(p.row_scale)[i] : T(1));
    T top(0), total(0), mass(0), value(0);
    if (p.loss == Loss::categorical && p.n > 0) {
        top = z[0];
        for (int64_t j = lane; j < p.n; j += kLanes) top = z[j] > top ? z[j] : top;
        top = Row::largest(top);
        for (int64_t j = lane; j < p.n; j += kLanes) {
            total += exp(z[j] - top);
            mass += x[j];
        }
        total = Row::sum(total);
        mass = Row::sum(mass);
    }
    for (int64_t j = lane; j < p.n; j += kLanes) {
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
        if (grad) grad[j] = factor * (mean - b);
    }
    value = Row::sum(value);
    if (p.loss == Loss::categorical && p.n > 0) value += mass * (top + log(total));
    if (p.value && lane == 0) static_cast<T*>(p.value)[i] = value;
}

template <class T>
void likelihood(const Likelihood& p, const Launch& launch) {
    if (p.n >= kLong)
        start(launch, p.m, kThreads, likelihood_kernel<T, true>, p);
    else
        start(launch, (p.m + kWarps - 1) / kWarps, kThreads, likelihood_kernel<T, false>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Likelihood, cuda::likelihood)

}  // namespace unsupfast
