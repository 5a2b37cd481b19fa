// Dense layers on the GPU: epilogues on the GEMM engine, and one pass for derivative, packing and column sums.
#include "kernels/dense/op.h"

#include "kernels/dense/act.h"
#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"
#include "kernels/optim/step.cuh"

namespace unsupfast {
namespace cuda {
namespace {

enum DenseScratch : int { kTurnedScratch = 2, kGateScratch = 3 };

template <class T>
struct ActivationEpilogue {
    int64_t n;
    const T* bias;
    Activation act;
    T* y;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (column < n) y[row * n + column] = activate(act, bias ? sums[w] + bias[column] : sums[w]);
        }
        return T(0);
    }
};

template <class T>
void dense(const Dense& p, const Launch& launch) {
    const void* right = p.w;
    if (p.turned || p.format != p.dtype) {
        void* made =
            launch.scratch(kTurnedScratch, size_t(panel_elements(p.format, p.k, p.n) * element_size(p.format)));
        TurnPanels_cuda(p.turned ? TurnPanels{p.n, p.k, p.w, made, nullptr, nullptr, p.dtype, p.format}
                                 : TurnPanels{p.k, p.n, p.w, nullptr, made, nullptr, p.dtype, p.format},
                        launch);
        right = made;
    }
    multiply<T>(p.m, p.n, p.k, p.x, right_panels(right, p.format), p.format, launch,
                ActivationEpilogue<T>{p.n, static_cast<const T*>(p.bias), p.act, static_cast<T*>(p.y)});
}

// ---------------------------------------------------------------- gate

template <class T>
__global__ void __launch_bounds__(256) gate_kernel(const __grid_constant__ Gate p, T* rows) {
    const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (i >= p.m * p.n) return;
    const T g = static_cast<const T*>(p.g)[i];
    rows[i] = p.y ? g * slope(p.act, static_cast<const T*>(p.y)[i]) : g;
}

template <class T>
void gate(const Gate& p, const Launch& launch) {
    T* rows = static_cast<T*>(p.rows);
    if (!rows) rows = static_cast<T*>(launch.scratch(kGateScratch, size_t(p.m * p.n) * sizeof(T)));
    start(launch, (p.m * p.n + 255) / 256, 256, gate_kernel<T>, p, rows);
    if (p.panels) PackPanels_cuda(PackPanels{p.m, p.n, rows, p.n, 1, p.panels, p.dtype, p.format}, launch);
    if (p.sums) ColumnSum_cuda(ColumnSum{p.m, p.n, Left{rows, p.n, 1}, nullptr, 0, p.sums, p.dtype}, launch);
}

// ---------------------------------------------------------------- weights

template <class T>
struct WeightEpilogue {
    int64_t k, n;
    T* w;
    T beta;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            T* q = w + (panel * k + row) * kPanel + column_of(b, i);
            const T x = panel * kPanel + column_of(b, i) < n ? sums[i] : T(0);  // the padding stays zero
            *q = beta == T(0) ? x : x + beta * *q;
        }
        return T(0);
    }
};

template <class T>
void dense_weight(const DenseWeight& p, const Launch& launch) {
    multiply<T>(p.k, p.n, p.m, p.x, right_panels(p.right, p.format), p.format, launch,
                WeightEpilogue<T>{p.k, p.n, static_cast<T*>(p.w), T(p.beta)});
}

template <class T>
struct UpdateEpilogue {
    int64_t k, n;
    Slice slice;
    StepNumbers<T> numbers;
    int32_t* nonfinite;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (panel * kPanel + column_of(b, i) >= n) continue;
            const int64_t at = (panel * k + row) * kPanel + column_of(b, i);
            const T g = slice.g ? sums[i] + static_cast<const T*>(slice.g)[at] : sums[i];
            if (!isfinite(step_one(numbers, slice, at, g))) atomicOr(nonfinite, 1);
        }
        return T(0);
    }
};

template <class T>
void dense_update(const DenseUpdate& p, const Launch& launch) {
    multiply<T>(p.k, p.n, p.m, p.x, right_panels(p.right, p.format), p.format, launch,
                UpdateEpilogue<T>{p.k, p.n, p.step.slices[0], StepNumbers<T>(p.step), p.step.nonfinite});
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Dense, cuda::dense)
USF_CUDA_KERNEL_BY_DTYPE(Gate, cuda::gate)
USF_CUDA_KERNEL_BY_DTYPE(DenseWeight, cuda::dense_weight)
USF_CUDA_KERNEL_BY_DTYPE(DenseUpdate, cuda::dense_update)

}  // namespace unsupfast
