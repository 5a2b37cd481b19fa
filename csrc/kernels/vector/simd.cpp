// The whole-array face of the random number generator, and the measured peak.
#include "kernels/vector/op.h"

#include "simd/vmath.h"

#if defined(__x86_64__)
#define USF_VECTOR_REGISTER(x) "+v"(x)
#else
#define USF_VECTOR_REGISTER(x) "+w"(x)
#endif

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
void peak_chunk(int64_t iterations) {
    Vec<T> acc[16] = {};
    const Vec<T> x = splat(T(0.5));
    for (int64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) {
            acc[j] = acc[j] * x + x;
            asm volatile("" : USF_VECTOR_REGISTER(acc[j]));  // keeps each chain alive, in a register
        }
}

#if defined(__AVX512BF16__)
constexpr int kBf16Lanes = USF_BYTES / 2;
void peak_chunk_bf16(int64_t iterations) {
    __m512 acc[16] = {};
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    for (int64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) {
            acc[j] = _mm512_dpbf16_ps(acc[j], x, x);
            asm volatile("" : USF_VECTOR_REGISTER(acc[j]));
        }
}
#else  // bf16 pairs are unpacked and multiplied as float32
constexpr int kBf16Lanes = kLanes<float>;
void peak_chunk_bf16(int64_t iterations) { peak_chunk<float>(iterations); }
#endif

}  // namespace
}  // namespace USF_ISA

USF_KERNEL(USF_ISA, PeakLoop) {
    parallel_for(launch, p.threads, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
            p.format == DType::bf16  ? USF_ISA::peak_chunk_bf16(p.iterations)
            : p.format == DType::f64 ? USF_ISA::peak_chunk<double>(p.iterations)
                                     : USF_ISA::peak_chunk<float>(p.iterations);
    });
    const int64_t lanes = p.format == DType::f64    ? USF_ISA::kLanes<double>
                          : p.format == DType::bf16 ? USF_ISA::kBf16Lanes
                                                    : USF_ISA::kLanes<float>;
    *p.flops = 2. * 16. * double(lanes) * double(p.iterations) * p.threads;
}

USF_KERNEL(USF_ISA, Uniforms) {
    parallel_for(launch, p.rows, [&](int64_t begin, int64_t end) {
        alignas(64) float u[2][kPanel];
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = 0; j < p.cols; j += kPanel) {
                USF_ISA::uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(i), 1,
                                      uint32_t(j), u);
                std::memcpy(p.out + i * p.cols + j, u[0], size_t(USF_ISA::least(p.cols - j, kPanel)) * sizeof(float));
            }
    });
}

}  // namespace unsupfast
