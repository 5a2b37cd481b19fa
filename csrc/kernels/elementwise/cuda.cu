// The table on the GPU: a thread an element.
#include "kernels/elementwise/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

#define USF_BOTH __device__ __forceinline__
#include "kernels/elementwise/scalar.h"

template <class T>
__global__ void __launch_bounds__(256) elementwise_kernel(const __grid_constant__ Elementwise p, int64_t n) {
    const int64_t item = int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (item >= n) return;
    int64_t a = 0, b = 0, c = 0, rest = item;
#pragma unroll
    for (int d = kRank - 1; d >= 0; --d) {
        if (p.extent[d] == 1) continue;
        const int64_t i = rest % p.extent[d];
        rest /= p.extent[d];
        a += i * p.a_stride[d];
        b += i * p.b_stride[d];
        c += i * p.condition_stride[d];
    }
    const T number = T(p.number);
    const T first = p.a ? static_cast<const T*>(p.a)[a] : number;
    const T second = p.b ? static_cast<const T*>(p.b)[b] : number;
    static_cast<T*>(p.y)[item] = value<T>(p.f, first, second, p.condition && p.condition[c]);
}

template <class T>
void elementwise(const Elementwise& p, const Launch& launch) {
    const int64_t n = p.extent[0] * p.extent[1] * p.extent[2] * p.extent[3];
    start(launch, (n + 255) / 256, 256, elementwise_kernel<T>, p, n);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Elementwise, cuda::elementwise)

}  // namespace unsupfast
