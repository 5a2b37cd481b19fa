// Random numbers and the measured peak on the GPU.
#include "kernels/vector/op.h"

#include "kernels/gemm/engine.cuh"
#include "philox.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kThreads = 256;

// One thread a Philox block: units b, b + 8, b + 16, b + 24 of 32 neighbours (philox.h).
__global__ void __launch_bounds__(kThreads) uniforms_kernel(const __grid_constant__ Uniforms p) {
    const int64_t blocks = panel_count(p.cols) * 8, item = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    const int64_t row = item / blocks, block = item % blocks;
    if (row >= p.rows) return;
    const Philox4 random =
        philox(p.draw.seed, uint32_t(block), p.draw.first_row + uint32_t(row), step_of(p.draw), p.draw.stream);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
        const int64_t unit = block / 8 * kPanel + block % 8 + 8 * w;
        if (unit < p.cols) p.out[row * p.cols + unit] = uniform_from_bits(random.word[w]);
    }
}

// 16 independent chains in registers. The result is stored only if it is a number that it never is, so that
// the compiler has to compute it. (threads, of the CPU, does not matter: all multiprocessors are filled.)
constexpr int kPeakBlocks = 2048 / kThreads;  // a multiprocessor

template <class T>
__global__ void __launch_bounds__(kThreads) peak_kernel(int64_t iterations, T factor, T* out) {
    T sum[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) sum[i] = T(threadIdx.x + i);
#pragma unroll 1
    for (int64_t n = 0; n < iterations; ++n)
#pragma unroll
        for (int i = 0; i < 16; ++i) sum[i] = fma(sum[i], factor, factor);
    T total(0);
#pragma unroll
    for (int i = 0; i < 16; ++i) total += sum[i];
    if (total == T(-1)) *out = total;
}

__global__ void __launch_bounds__(kThreads) peak_mma_kernel(int64_t iterations, uint32_t word, float* out) {
    float sum[16][4] = {};
    const uint32_t a[4] = {word, word, word, word}, b[2] = {word, word};
#pragma unroll 1
    for (int64_t n = 0; n < iterations; ++n)
#pragma unroll
        for (int i = 0; i < 16; ++i) mma_bf16(sum[i], a, b);
    float total = 0;
#pragma unroll
    for (int i = 0; i < 16; ++i) total += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
    if (total == -1.f) *out = total;
}

void peak_loop(const PeakLoop& p, const Launch& launch) {
    const int64_t blocks = int64_t(multiprocessors()) * kPeakBlocks;
    const double rounds = double(p.iterations) * double(blocks) * 16;
    void* out = launch.scratch(kPartialScratch, sizeof(double));
    if (p.format == DType::bf16) {
        start(launch, blocks, kThreads, peak_mma_kernel, p.iterations, 0x3f803f80u, static_cast<float*>(out));
        *p.flops = rounds * (kThreads / 32) * 2 * 16 * 8 * 16;
    } else {
        if (p.format == DType::f64)
            start(launch, blocks, kThreads, peak_kernel<double>, p.iterations, 0.5, static_cast<double*>(out));
        else
            start(launch, blocks, kThreads, peak_kernel<float>, p.iterations, 0.5f, static_cast<float*>(out));
        *p.flops = rounds * kThreads * 2;
    }
}

}  // namespace
}  // namespace cuda

// `flops` is in host memory; the kernel is not waited for.
USF_KERNEL(cuda, PeakLoop) { cuda::peak_loop(p, launch); }

USF_KERNEL(cuda, Uniforms) {
    const int64_t items = p.rows * panels(p.cols) * 8;
    cuda::start(launch, (items + cuda::kThreads - 1) / cuda::kThreads, cuda::kThreads, cuda::uniforms_kernel, p);
}

}  // namespace unsupfast
