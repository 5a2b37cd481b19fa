// Every kind of unit on the GPU: a warp a row, so that sums over a row come in one fixed order.
#include "kernels/units/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

#define USF_BOTH __device__ __forceinline__
#include "kernels/units/functions.h"

constexpr int kRowsPerBlock = 8;
enum UnitScratch : int { kCumulativeScratch = 5 };

template <class T>
__device__ __forceinline__ T field_at(const Conditional& p, int64_t i, int64_t j) {
    const T weight = p.bias_weight ? static_cast<const T*>(p.bias_weight)[i] : T(1);
    return T(p.scale) * static_cast<const T*>(p.field)[i * p.field_stride + j] +
           weight * static_cast<const T*>(p.bias)[j];
}

template <class T>
__device__ __forceinline__ T uniform_at(const Conditional& p, int64_t i, int64_t unit) {
    return T(philox_uniform(p.draw.seed, p.first_unit + uint32_t(unit), p.draw.first_row + uint32_t(i), step_of(p.draw),
                            p.draw.stream));
}

template <class T>
__global__ void __launch_bounds__(32 * kRowsPerBlock) single_kernel(const __grid_constant__ Conditional p) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t i = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
    if (i >= p.m) return;
    const T *a = static_cast<const T*>(p.shape[0]), *b = static_cast<const T*>(p.shape[1]);
    const T none = T(p.unit == Unit::gaussian);  // sigma, or a gap
    T total(0);
    for (int64_t j = lane; j < p.n; j += 32) {
        const T x = field_at<T>(p, i, j), aj = a ? a[j] : none, bj = b ? b[j] : T(0);
        if (p.log_partition) {
            total += log_partition_of<T>(p.unit, x, aj, bj);
            if (p.ratio >= 0) total -= log_partition_of<T>(p.unit, T(p.ratio) * x, aj, bj);
        }
        if (p.mean) static_cast<T*>(p.mean)[i * p.out_stride + j] = mean_of<T>(p.unit, x, aj, bj);
        if (p.sample)
            static_cast<T*>(p.sample)[i * p.out_stride + j] = sample_of<T>(p.unit, x, aj, bj, uniform_at<T>(p, i, j));
    }
    total = sum_lanes<32>(total);
    if (p.log_partition && lane == 0) static_cast<T*>(p.log_partition)[i] += total;
}

template <class T>
__device__ T log_sum_exp(const Conditional& p, int64_t i, int64_t begin, int64_t n, T factor, int lane) {
    T top = factor * field_at<T>(p, i, begin);
    for (int64_t j = lane; j < n; j += 32) {
        const T x = factor * field_at<T>(p, i, begin + j);
        top = x > top ? x : top;
    }
    for (int d = 16; d; d /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, top, d);
        top = other > top ? other : top;
    }
    T sum(0);
    for (int64_t j = lane; j < n; j += 32) sum += exp(factor * field_at<T>(p, i, begin + j) - top);
    return top + log(sum_lanes<32>(sum));
}

// Groups of which one unit is on, or counts; passed (m x n): the cumulated probabilities.
template <class T>
__global__ void __launch_bounds__(32 * kRowsPerBlock)
    group_kernel(const __grid_constant__ Conditional p, T* __restrict__ passed) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t i = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
    if (i >= p.m) return;
    const bool counts = p.unit == Unit::multinomial;
    const int64_t group = counts ? p.n : p.group, draws = p.totals ? int64_t(static_cast<const T*>(p.totals)[i]) : 1;
    T log_z(0);
    for (int64_t g = 0; g < p.n; g += group) {
        const T all = log_sum_exp<T>(p, i, g, group, T(1), lane);
        if (p.log_partition) {
            T term = all;
            if (p.ratio >= 0) term -= log_sum_exp<T>(p, i, g, group, T(p.ratio), lane);
            log_z += T(draws) * term;
        }
        T *mean = static_cast<T*>(p.mean) + i * p.out_stride + g, *sample = static_cast<T*>(p.sample);
        T before(0);
        for (int64_t first = 0; first < group; first += 32) {
            const int64_t j = first + lane;
            T q = j < group ? exp(field_at<T>(p, i, g + j) - all) : T(0);
            if (p.mean && j < group) mean[j] = T(draws) * q;
            for (int d = 1; d < 32; d *= 2) {
                const T left = __shfl_up_sync(0xffffffffu, q, d);
                if (lane >= d) q += left;
            }
            if (sample && j < group) {
                passed[i * p.n + g + j] = before + q;
                sample[i * p.out_stride + g + j] = T(0);
            }
            before += __shfl_sync(0xffffffffu, q, 31);
        }
        __syncwarp();
        for (int64_t d = lane; sample && d < draws; d += 32) {
            const T u = uniform_at<T>(p, i, counts ? d : g);
            int64_t low = 0, high = group - 1;
            while (low < high) {
                const int64_t middle = (low + high) / 2;
                if (u < passed[i * p.n + g + middle])
                    high = middle;
                else
                    low = middle + 1;
            }
            atomicAdd(sample + i * p.out_stride + g + low, T(1));  // whole numbers: exact in any order
        }
        __syncwarp();
    }
    if (p.log_partition && lane == 0) static_cast<T*>(p.log_partition)[i] += log_z;
}

template <class T>
void conditional(const Conditional& p, const Launch& launch) {
    const int64_t blocks = (p.m + kRowsPerBlock - 1) / kRowsPerBlock;
    if (p.unit != Unit::softmax && p.unit != Unit::multinomial)
        return start(launch, blocks, 32 * kRowsPerBlock, single_kernel<T>, p);
    T* passed = p.sample ? static_cast<T*>(launch.scratch(kCumulativeScratch, size_t(p.m * p.n) * sizeof(T))) : nullptr;
    start(launch, blocks, 32 * kRowsPerBlock, group_kernel<T>, p, passed);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Conditional, cuda::conditional)

}  // namespace unsupfast
