// Dropout on the GPU: one thread a Philox block, whose four uniforms are those of four units (philox.h).
#include "kernels/dropout/op.h"

#include "cuda/device.h"
#include "kernels/gemm/op.h"
#include "philox.h"

namespace unsupfast {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256) dropout_kernel(const __grid_constant__ Dropout p) {
    const int64_t blocks = (p.n + kPanel - 1) / kPanel * 8, item = int64_t(blockIdx.x) * 256 + threadIdx.x;
    const int64_t row = item / blocks, block = item % blocks;
    if (row >= p.m) return;
    const float rate = float(p.rate);
    const T scale = T(1 / (1 - p.rate));
    const Philox4 random =
        philox(p.draw.seed, uint32_t(block), p.draw.first_row + uint32_t(row), step_of(p.draw), p.draw.stream);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
        const int64_t unit = block / 8 * kPanel + block % 8 + 8 * w, at = row * p.n + unit;
        if (unit < p.n)
            static_cast<T*>(p.y)[at] =
                uniform_from_bits(random.word[w]) < rate ? T(0) : static_cast<const T*>(p.x)[at] * scale;
    }
}

template <class T>
void dropout(const Dropout& p, const Launch& launch) {
    const int64_t items = p.m * ((p.n + kPanel - 1) / kPanel) * 8;
    start(launch, (items + 255) / 256, 256, dropout_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Dropout, cuda::dropout)

}  // namespace unsupfast
