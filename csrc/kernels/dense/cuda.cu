// Dense layers on the GPU: epilogues on the GEMM engine, and one pass for derivative, packing and column sums.
#include "kernels/dense/op.h"

#include "kernels/dense/act.h"
#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"
#include "kernels/optim/step.cuh"

namespace unsupfast {
namespace cuda {
namespace {

enum DenseScratch : int { kTurnedScratch = 2, kGateScratch = 3, kSumScratch = 4 };

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
    T* out;
    T beta;
    const T *w, *columns;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t column = panel * kPanel + column_of(b, i), at = (panel * k + row) * kPanel + column_of(b, i);
            T x = column < n ? sums[i] : T(0);  // the padding stays zero
            if (columns && column < n) x += w[at] * columns[column];
            out[at] = beta == T(0) ? x : x + beta * out[at];
        }
        return T(0);
    }
};

// Products [0, count) into out; with none, a product of depth 0, so that columns come in.
template <class T>
void sum_products(int64_t k, int64_t n, const Product* products, int64_t count, const void* w, const void* columns,
                  T beta, T* out, DType format, const Launch& launch) {
    const Product nothing{0, {}, nullptr};
    for (int64_t q = 0; q < (count > 0 ? count : 1); ++q) {
        const Product& p = count > 0 ? products[q] : nothing;
        const bool first = q == 0;
        multiply<T>(k, n, p.depth, p.left, right_panels(p.right, format), format, launch,
                    WeightEpilogue<T>{k, n, out, first ? beta : T(1), static_cast<const T*>(w),
                                      first ? static_cast<const T*>(columns) : nullptr});
    }
}

template <class T>
void dense_weight(const DenseWeight& p, const Launch& launch) {
    sum_products<T>(p.k, p.n, p.products, p.count, p.w, p.columns, T(p.beta), static_cast<T*>(p.out), p.format, launch);
}

template <class T>
struct UpdateEpilogue {
    int64_t k, n;
    Slice slice;
    StepNumbers<T> numbers;
    const T *before, *columns;
    int32_t* nonfinite;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t column = panel * kPanel + column_of(b, i), at = (panel * k + row) * kPanel + column_of(b, i);
            if (column >= n) continue;
            T g = sums[i];
            if (before) g += before[at];
            if (columns) g += static_cast<const T*>(slice.p)[at] * columns[column];
            if (slice.g) g += static_cast<const T*>(slice.g)[at];
            if (!isfinite(step_one(numbers, slice, at, g))) atomicOr(nonfinite, 1);
        }
        return T(0);
    }
};

// All products but the last are summed in memory.
template <class T>
void dense_update(const DenseUpdate& p, const Launch& launch) {
    T* before = nullptr;
    if (p.count > 1) {
        before = static_cast<T*>(launch.scratch(kSumScratch, size_t(panel_elements(p.dtype, p.k, p.n)) * sizeof(T)));
        sum_products<T>(p.k, p.n, p.products, p.count - 1, nullptr, nullptr, T(0), before, p.format, launch);
    }
    const Product last = p.count > 0 ? p.products[p.count - 1] : Product{0, {}, nullptr};
    multiply<T>(p.k, p.n, last.depth, last.left, right_panels(last.right, p.format), p.format, launch,
                UpdateEpilogue<T>{p.k, p.n, p.step.slices[0], StepNumbers<T>(p.step), before,
                                  static_cast<const T*>(p.columns), p.step.nonfinite});
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Dense, cuda::dense)
USF_CUDA_KERNEL_BY_DTYPE(Gate, cuda::gate)
USF_CUDA_KERNEL_BY_DTYPE(DenseWeight, cuda::dense_weight)
USF_CUDA_KERNEL_BY_DTYPE(DenseUpdate, cuda::dense_update)

}  // namespace unsupfast
