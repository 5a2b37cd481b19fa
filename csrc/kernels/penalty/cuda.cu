// Penalties on the GPU: a block a panel of 32 columns, eight warps over its rows.
#include "kernels/penalty/op.h"

#include "kernels/dense/act.h"
#include "kernels/gemm/engine.cuh"

namespace unsupfast {
namespace cuda {
namespace {

// The sums of the eight warps of a block, by column, in the first warp.
template <class T>
__device__ T sum_warps(T x) {
    __shared__ T sums[8][32];
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    sums[warp][lane] = x;
    __syncthreads();
    for (int w = 1; warp == 0 && w < 8; ++w) x += sums[w][lane];
    return x;
}

template <class T>
__global__ void __launch_bounds__(256) column_norms_kernel(const __grid_constant__ ColumnNorms p) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t column = int64_t(blockIdx.x) * kPanel + lane;
    const T* w = static_cast<const T*>(p.w) + int64_t(blockIdx.x) * p.k * kPanel + lane;
    T sum(0);
    for (int64_t i = threadIdx.x / 32; i < p.k; i += 8) sum += w[i * kPanel] * w[i * kPanel];
    sum = sum_warps(sum);
    if (threadIdx.x < 32 && column < p.n) static_cast<T*>(p.out)[column] = sum;
}

template <class T>
void column_norms(const ColumnNorms& p, const Launch& launch) {
    start(launch, panels(p.n), 256, column_norms_kernel<T>, p);
}

template <class T>
__global__ void __launch_bounds__(256) contraction_kernel(const __grid_constant__ Contraction p, T* partial) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t column = int64_t(blockIdx.x) * kPanel + lane;
    const bool inside = column < p.n;
    const T norm = inside ? static_cast<const T*>(p.norms)[column] : T(0), scale = T(p.scale);
    T squares(0);
    for (int64_t i = threadIdx.x / 32; i < p.m; i += 8) {
        const T y = inside ? static_cast<const T*>(p.h)[i * p.n + column] : T(0);
        const T a = inside ? slope(p.act, y) : T(0);
        squares += a * a;
        if (inside) static_cast<T*>(p.by_h)[i * p.n + column] = scale * T(2) * a * curvature(p.act, y) * norm;
        const T row = sum_lanes<32>(a * a * norm);
        if (lane == 0) partial[int64_t(blockIdx.x) * p.m + i] = row;
    }
    squares = sum_warps(squares);
    if (threadIdx.x < 32 && inside) static_cast<T*>(p.by_norms)[column] = scale * squares;
}

template <class T>
void contraction(const Contraction& p, const Launch& launch) {
    T* partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.n) * p.m) * sizeof(T)));
    start(launch, panels(p.n), 256, contraction_kernel<T>, p, partial);
    sum_partials<T>(launch, partial, panels(p.n), p.m, T(0), static_cast<T*>(p.value));
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(ColumnNorms, cuda::column_norms)
USF_CUDA_KERNEL_BY_DTYPE(Contraction, cuda::contraction)

}  // namespace unsupfast
