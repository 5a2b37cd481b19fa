// A thread a unit; annealing's weights a warp a row.
#include "cuda/device.h"
#include "kernels/contrast/parts.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <class F>
__global__ void __launch_bounds__(kThreads) each_kernel(int64_t n, const __grid_constant__ F f) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < n) f(i);
}

template <class F>
void each(const Launch& launch, int64_t n, const F& f) {
    start(launch, (n + kThreads - 1) / kThreads, kThreads, each_kernel<F>, n, f);
}

template <class T>
struct Gradient {
    ContrastGradient p;
    __device__ void operator()(int64_t i) const {
        if (i < p.visibles)
            contrast_visible<T>(p, i);
        else
            contrast_hidden<T>(p, i - p.visibles);
    }
};

template <class T>
struct InRow {
    SelectiveTargets p;
    __device__ void operator()(int64_t i) const { rank_in_row<T>(p, i / p.n, i % p.n); }
};
template <class T>
struct TowardsTarget {
    SelectiveTargets p;
    __device__ void operator()(int64_t i) const { towards_target<T>(p, i / p.n, i % p.n); }
};

template <class T>
struct Steps {
    MomentumStep p;
    __device__ void operator()(int64_t i) const {
        int s = 0;
        while (i >= p.slices[s].n) i -= p.slices[s++].n;
        const MomentumSlice& slice = p.slices[s];
        if (!momentum_step<T>(slice, p.rate, p.momentum, i) && slice.nonfinite) atomicOr(slice.nonfinite, 1);
    }
};

template <class T>
struct ByVariance {
    VarianceGradient p;
    __device__ void operator()(int64_t i) const { variance_gradient<T>(p, p.begin + i); }
};

template <class T>
struct OfVariances {
    Variances p;
    __device__ void operator()(int64_t i) const { variances<T>(p, i); }
};

template <class T>
struct ByShape {
    ShapeGradient p;
    __device__ void operator()(int64_t j) const { shape_gradient<T>(p, p.begin + j); }
};

template <class T>
__global__ void __launch_bounds__(kThreads) weigh_kernel(const __grid_constant__ WeighAnnealed p) {
    const int64_t i = int64_t(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
    const int lane = int(threadIdx.x) % 32;
    double sum = i < p.rows && p.factor != 0 ? shifted_sum<T>(p, i, lane, 32) : 0;
    sum = sum_lanes<32>(sum);
    if (i >= p.rows || lane > 0) return;
    const T* log_z = static_cast<const T*>(p.log_z);
    p.log_weight[i] += (log_z ? p.sign * double(log_z[i]) : 0) + p.factor * sum;
}

template <class T>
void gradient(const ContrastGradient& p, const Launch& launch) {
    each(launch, p.visibles + p.hiddens, Gradient<T>{p});
}
template <class T>
void selective(const SelectiveTargets& p, const Launch& launch) {
    each(launch, p.rows * p.n, InRow<T>{p});
    each(launch, p.rows * p.n, TowardsTarget<T>{p});
}
template <class T>
void steps(const MomentumStep& p, const Launch& launch) {
    int64_t n = 0;
    for (int s = 0; s < p.count; ++s) n += p.slices[s].n;
    each(launch, n, Steps<T>{p});
}
template <class T>
void by_variance(const VarianceGradient& p, const Launch& launch) {
    each(launch, p.end - p.begin, ByVariance<T>{p});
}
template <class T>
void of_variances(const Variances& p, const Launch& launch) {
    each(launch, p.n, OfVariances<T>{p});
}
template <class T>
void by_shape(const ShapeGradient& p, const Launch& launch) {
    each(launch, p.end - p.begin, ByShape<T>{p});
}
template <class T>
void weigh(const WeighAnnealed& p, const Launch& launch) {
    start(launch, (p.rows + kThreads / 32 - 1) / (kThreads / 32), kThreads, weigh_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(ContrastGradient, cuda::gradient)
USF_CUDA_KERNEL_BY_DTYPE(SelectiveTargets, cuda::selective)
USF_CUDA_KERNEL_BY_DTYPE(MomentumStep, cuda::steps)
USF_CUDA_KERNEL_BY_DTYPE(VarianceGradient, cuda::by_variance)
USF_CUDA_KERNEL_BY_DTYPE(Variances, cuda::of_variances)
USF_CUDA_KERNEL_BY_DTYPE(ShapeGradient, cuda::by_shape)
USF_CUDA_KERNEL_BY_DTYPE(WeighAnnealed, cuda::weigh)

}  // namespace unsupfast
