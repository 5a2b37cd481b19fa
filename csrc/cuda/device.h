// What kernels share: launching, and sums over lanes.
#pragma once
#include <cuda_runtime.h>

#include "cuda/error.h"
#include "cuda/mma.h"
#include "kernel.h"

namespace unsupfast::cuda {

// Starts kernel(args...) on the launch's stream. An empty grid is no launch.
template <class... P, class... A>
inline void start(const Launch& launch, int64_t blocks, int threads, void (*kernel)(P...), A&&... args) {
    if (blocks == 0) return;
    if (blocks > 0x7fffffff) throw std::runtime_error("CUDA: the arrays are too large for one kernel launch");
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(blocks));
    config.blockDim = dim3(unsigned(threads));
    config.stream = static_cast<cudaStream_t>(launch.stream);
    check(cudaLaunchKernelEx(&config, kernel, P(args)...), "kernel launch");
}

inline void zero(const Launch& launch, void* p, size_t bytes) {
    if (bytes) check(cudaMemsetAsync(p, 0, bytes, static_cast<cudaStream_t>(launch.stream)), "zeroing memory");
}

inline int multiprocessors() {
    int device = 0, count = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "asking for multiprocessors");
    return count;
}

// The sum of x over kLanes neighbouring lanes (a power of two), in all of them, in one fixed order. The
// whole warp has to call it.
template <int kLanes, class T>
__device__ __forceinline__ T sum_lanes(T x) {
#pragma unroll
    for (int d = 1; d < kLanes; d *= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

}  // namespace unsupfast::cuda

// The CUDA kernel of op P is f<float> or f<double>, by the op's dtype.
#define USF_CUDA_KERNEL_BY_DTYPE(P, f) \
    USF_KERNEL(cuda, P) { p.dtype == DType::f64 ? f<double>(p, launch) : f<float>(p, launch); }
