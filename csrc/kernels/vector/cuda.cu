// Whole-array elementary functions and random numbers on the GPU.
#include "kernels/vector/op.h"

#include "cuda/device.h"
#include "elementary.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) vector_math_kernel(const __grid_constant__ VectorMath p) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= p.n) return;
    const T x = static_cast<const T*>(p.x)[i];
    T y = x;
    switch (p.f) {
        case Function::exp: y = exp(x); break;
        case Function::log: y = log(x); break;
        case Function::sigmoid: y = sigmoid(x); break;
        case Function::softplus: y = softplus(x); break;
        case Function::probit: y = probit(x); break;
    }
    static_cast<T*>(p.y)[i] = y;
}

template <class T>
void vector_math(const VectorMath& p, const Launch& launch) {
    start(launch, (p.n + kThreads - 1) / kThreads, kThreads, vector_math_kernel<T>, p);
}

// One thread a Philox block: units b, b + 8, b + 16, b + 24 of 32 neighbours (philox.h).
__global__ void __launch_bounds__(kThreads) uniforms_kernel(const __grid_constant__ Uniforms p) {
    const int64_t blocks = panel_count(p.cols) * 8, item = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    const int64_t row = item / blocks, block = item % blocks;
    if (row >= p.rows) return;
    const Philox4 random =
        philox(p.draw.seed, uint32_t(block), p.draw.first_row + uint32_t(row), p.draw.step, p.draw.stream);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
        const int64_t unit = block / 8 * kPanel + block % 8 + 8 * w;
        if (unit < p.cols) p.out[row * p.cols + unit] = uniform_from_bits(random.word[w]);
    }
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(VectorMath, cuda::vector_math)

USF_KERNEL(cuda, Uniforms) {
    const int64_t items = p.rows * panels(p.cols) * 8;
    cuda::start(launch, (items + cuda::kThreads - 1) / cuda::kThreads, cuda::kThreads, cuda::uniforms_kernel, p);
}

}  // namespace unsupfast
