// What convolutions need beside products, on the GPU: products are the engine's, whose prologue gathers the patches.
#include "kernels/conv/op.h"

#include "elementary.h"
#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"

namespace unsupfast {
namespace cuda {
namespace {

enum ConvScratch : int { kFieldScratch = 4, kFilterScratch = 5 };

// ---------------------------------------------------------------- filters

// The matrix whose panels TurnFilters makes, row-major.
template <class T>
__global__ void __launch_bounds__(256)
    turn_filters_kernel(const __grid_constant__ TurnFilters p, T* out, int64_t count) {
    const int64_t at = int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (at >= count) return;
    const int64_t n = p.block * p.channels, i = at / n, j = at % n;
    const int64_t k = i % p.filters, x = i / p.filters % p.cols, r = p.height - 1 - i / p.filters / p.cols;
    const int64_t s = j / p.channels - x + p.offset;
    out[at] = s < 0 || s >= p.width
                  ? T(0)
                  : static_cast<const T*>(p.src)[((k * p.height + r) * p.width + s) * p.channels + j % p.channels];
}

template <class T>
void turn_filters(const TurnFilters& p, const Launch& launch) {
    const int64_t depth = p.height * p.cols * p.filters, n = p.block * p.channels, count = depth * n;
    T* rows = static_cast<T*>(launch.scratch(kFilterScratch, size_t(count) * sizeof(T)));
    start(launch, (count + 255) / 256, 256, turn_filters_kernel<T>, p, rows, count);
    PackPanels_cuda(PackPanels{depth, n, rows, n, 1, p.dst, p.dtype, p.format}, launch);
}

// ---------------------------------------------------------------- the half-step

// x = scale sum + bias, into m x n
template <class T>
struct StoreField {
    T* field;
    const T* bias;
    int64_t n;
    T scale;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (column < n) field[row * n + column] = scale * sums[w] + bias[column];
        }
        return T(0);
    }
};

// One thread a block of detection units of one filter. terms[(block of the map, filter)][map] are what blocks add to
// the log partition.
template <class T>
__global__ void __launch_bounds__(128)
    pool_kernel(const __grid_constant__ PoolingStep p, const T* field, T* terms, int64_t count) {
    const int64_t index = int64_t(blockIdx.x) * 128 + threadIdx.x;
    if (index >= count) return;
    const int64_t C = p.pool, across = p.out_width / C, blocks = p.out_height / C * across;
    const int64_t maps = p.m / (p.out_height * p.out_width), words = (p.out_width * p.n + 31) / 32;
    const int64_t j = index % p.n, block = index / p.n, map = block / blocks, place = block % blocks;
    const int64_t row0 = map * p.out_height + place / across * C, column0 = place % across * C;
    const auto at = [&](int64_t q) { return ((row0 + q / C) * p.out_width + column0 + q % C) * p.n + j; };
    const auto log_sum = [&](T factor) {
        T top(0), sum(0);
        for (int64_t q = 0; q < C * C; ++q) top = max(top, factor * field[at(q)]);
        for (int64_t q = 0; q < C * C; ++q) sum += exp(factor * field[at(q)] - top);
        return top + log(exp(-top) + sum);
    };
    const T all = log_sum(T(1));
    if (terms) terms[(place * p.n + j) * maps + map] = all - (p.ratio < 0 ? T(0) : log_sum(T(p.ratio)));
    T u(0);
    if (p.bits)
        u = philox_uniform(p.draw.seed, uint32_t(place * p.n + j), p.draw.first_row + uint32_t(map), step_of(p.draw),
                           p.draw.stream);
    T passed(0);
    for (int64_t q = 0; q < C * C; ++q) {
        const T mean = exp(field[at(q)] - all), before = passed;
        passed += mean;
        if (p.mean) static_cast<T*>(p.mean)[at(q)] = mean;
        if (!p.bits || u < before || u >= passed) continue;
        const int64_t bit = (column0 + q % C) * p.n + j;
        atomicOr(p.bits + (row0 + q / C) * words + bit / 32, 1u << bit % 32);  // blocks share words
    }
    if (p.pooled) static_cast<T*>(p.pooled)[index] = passed;
}

template <class T>
void pooling_step(const PoolingStep& p, const Launch& launch) {
    if (p.m == 0 || p.n == 0) return;
    T* field = static_cast<T*>(launch.scratch(kFieldScratch, size_t(p.m * p.n) * sizeof(T)));
    multiply<T, Lefts::patches>(p.m, p.n, p.k, p.states, right_panels(p.weights, p.format), p.format, launch,
                                StoreField<T>{field, static_cast<const T*>(p.bias), p.n, T(p.scale)});
    const int64_t maps = p.m / (p.out_height * p.out_width), count = p.m / (p.pool * p.pool) * p.n;
    T* terms = nullptr;
    if (p.log_partition) terms = static_cast<T*>(launch.scratch(kPartialScratch, size_t(count) * sizeof(T)));
    if (p.bits) zero(launch, p.bits, size_t(maps * p.out_height * ((p.out_width * p.n + 31) / 32)) * 4);
    start(launch, (count + 127) / 128, 128, pool_kernel<T>, p, field, terms, count);
    if (terms) sum_partials<T>(launch, terms, count / maps, maps, T(1), static_cast<T*>(p.log_partition));
}

// ---------------------------------------------------------------- the gradient

// out is n x m: filters are rows there
template <class T>
struct StoreTurned {
    T* out;
    int64_t m, n;
    T scale, beta;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (column >= n) continue;
            T& to = out[column * m + row];
            to = beta == T(0) ? scale * sums[w] : scale * sums[w] + beta * to;
        }
        return T(0);
    }
};

// Sums of 256 rows, a column a thread, and those sums in order.
template <class T>
__global__ void __launch_bounds__(128) partial_sums_kernel(int64_t rows, int64_t n, const T* x, T scale, T* partial) {
    const int64_t blocks = (n + 127) / 128, chunk = blockIdx.x / blocks;
    const int64_t column = blockIdx.x % blocks * 128 + threadIdx.x;
    if (column >= n) return;
    T sum(0);
    for (int64_t i = chunk * 256; i < min(rows, chunk * 256 + 256); ++i) sum += x[i * n + column];
    partial[chunk * n + column] = scale * sum;
}

template <class T>
void filter_gradient(const FilterGradient& p, const Launch& launch) {
    Left turned = p.patches;
    turned.patches.turned = true;
    multiply<T, Lefts::patches>(p.k, p.n, p.m, turned, right_values(p.hidden, p.n, nullptr), p.format, launch,
                                StoreTurned<T>{static_cast<T*>(p.out), p.k, p.n, T(p.scale), T(p.beta)});
    if (!p.sums || p.n == 0) return;
    const int64_t chunks = (p.m + 255) / 256;
    T* partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(chunks * p.n) * sizeof(T)));
    start(launch, chunks * ((p.n + 127) / 128), 128, partial_sums_kernel<T>, p.m, p.n, static_cast<const T*>(p.hidden),
          T(p.scale), partial);
    sum_partials<T>(launch, partial, chunks, p.n, T(p.beta), static_cast<T*>(p.sums));
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(TurnFilters, cuda::turn_filters)
USF_CUDA_KERNEL_BY_DTYPE(PoolingStep, cuda::pooling_step)
USF_CUDA_KERNEL_BY_DTYPE(FilterGradient, cuda::filter_gradient)

}  // namespace unsupfast
