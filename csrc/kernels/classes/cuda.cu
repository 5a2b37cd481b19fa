// A warp a score; a thread a row of shares, and a thread each of the two sums of an activity.
#include "cuda/device.h"
#include "kernels/classes/parts.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads) scores_kernel(const __grid_constant__ ClassScores p) {
    const int64_t item = int64_t(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32, i = item / p.classes,
                  c = item % p.classes;
    const bool own = i < p.rows;
    T sum(0);
    for (int64_t j = threadIdx.x % 32; own && j < p.hiddens; j += 32)
        sum += softplus(static_cast<const T*>(p.field)[i * p.hiddens + j] + class_weight<T>(p.u, c, j));
    sum = sum_lanes<32>(sum);
    if (own && threadIdx.x % 32 == 0) static_cast<T*>(p.scores)[item] = static_cast<const T*>(p.bias)[c] + sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) shares_kernel(const __grid_constant__ ClassShares p) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < p.rows) class_shares<T>(p, i);
}

template <class T>
__global__ void __launch_bounds__(kThreads) activity_kernel(const __grid_constant__ ClassActivity p) {
    const int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x, i = item / p.hiddens, j = item % p.hiddens;
    if (i >= p.rows) return;
    const T x = static_cast<const T*>(p.field)[item];
    T sum(0);
    for (int64_t c = 0; p.activity && c < p.classes; ++c) {
        const T share = static_cast<const T*>(p.share)[i * p.classes + c];
        if (share != T(0)) sum += share * sigmoid(x + class_weight<T>(p.u, c, j));
    }
    if (p.activity) static_cast<T*>(p.activity)[item] = sum;
    if (p.chosen) static_cast<T*>(p.chosen)[item] = x + class_weight<T>(p.u, p.choice[i], j);
}

template <class T>
__global__ void __launch_bounds__(kThreads) by_class_kernel(const __grid_constant__ ClassActivity p) {
    const int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x, c = item / p.hiddens, j = item % p.hiddens;
    if (c >= p.classes) return;
    const T u = class_weight<T>(p.u, c, j);
    T sum(0);
    for (int64_t i = 0; i < p.rows; ++i) {
        const T share = static_cast<const T*>(p.share)[i * p.classes + c];
        if (share != T(0)) sum += share * sigmoid(static_cast<const T*>(p.field)[i * p.hiddens + j] + u);
    }
    static_cast<T*>(p.by_class)[item] = sum;
}

int64_t blocks(int64_t items) { return (items + kThreads - 1) / kThreads; }

template <class T>
void scores(const ClassScores& p, const Launch& launch) {
    start(launch, blocks(p.rows * p.classes * 32), kThreads, scores_kernel<T>, p);
}

template <class T>
void shares(const ClassShares& p, const Launch& launch) {
    start(launch, blocks(p.rows), kThreads, shares_kernel<T>, p);
}

template <class T>
void activity(const ClassActivity& p, const Launch& launch) {
    if (p.activity || p.chosen) start(launch, blocks(p.rows * p.hiddens), kThreads, activity_kernel<T>, p);
    if (p.by_class) start(launch, blocks(p.classes * p.hiddens), kThreads, by_class_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(ClassScores, cuda::scores)
USF_CUDA_KERNEL_BY_DTYPE(ClassShares, cuda::shares)
USF_CUDA_KERNEL_BY_DTYPE(ClassActivity, cuda::activity)

}  // namespace unsupfast
