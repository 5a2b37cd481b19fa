// What kernels share: launching, sums over lanes, and the instructions that C++ has no words for.
#pragma once
#include <cuda_runtime.h>

#include "cuda/error.h"
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

// bfloat16 of `low` and `high` in the halves of a word, rounded to nearest even
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

// c (16 x 8) += a b on the tensor cores, the fragments of one warp: gemm/tiles.h. Of bf16, a is 16 x 16 and b 16 x 8.
__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Of bytes, a (unsigned) is 16 x 32 and b 32 x 8.
template <bool kSigned>
__device__ __forceinline__ void mma_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (kSigned)
        asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace unsupfast::cuda

// The CUDA kernel of op P is f<float> or f<double>, by the op's dtype.
#define USF_CUDA_KERNEL_BY_DTYPE(P, f) \
    USF_KERNEL(cuda, P) { p.dtype == DType::f64 ? f<double>(p, launch) : f<float>(p, launch); }
