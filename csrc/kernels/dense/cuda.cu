// Dense layers on the GPU: epilogues on the GEMM engine, and one pass for derivative, packing and column sums.
#include "kernels/dense/op.h"

#include "kernels/dense/act.h"
#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"
#include "kernels/optim/step.cuh"

namespace unsupfast {
namespace cuda {
namespace {

enum DenseScratch : int { kTurnedScratch = 2, kSumScratch = 4 };

template <class T>
struct ActivationEpilogue {
    int64_t n;
    const T* bias;
    Activation act;
    T* y;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    struct Loaded {
        T bias[4] = {};
    };
    __device__ Loaded load(int64_t, int64_t panel, int b) const {
        Loaded loaded;
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (bias && column < n) loaded.bias[w] = bias[column];
        }
        return loaded;
    }
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4], const Loaded& loaded) const {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (column < n) y[row * n + column] = activate(act, sums[w] + loaded.bias[w]);
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
    multiply<T, Lefts::values>(p.m, p.n, p.k, p.x, right_panels(right, p.format), p.format, launch,
                               ActivationEpilogue<T>{p.n, static_cast<const T*>(p.bias), p.act, static_cast<T*>(p.y)});
}

// ---------------------------------------------------------------- gate

// A block has the 32 columns of a panel and a chunk of rows, of which a warp reads a few before it writes any.
constexpr int kGateThreads = 512, kGateWarps = kGateThreads / 32, kGateRows = 8;

template <class T>
__global__ void __launch_bounds__(kGateThreads)
    gate_kernel(const __grid_constant__ Gate p, int64_t chunk_rows, T* sums) {
    __shared__ T all[kGateWarps][32];
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int64_t panel = blockIdx.x % panel_count(p.n), chunk = blockIdx.x / panel_count(p.n);
    const int64_t column = panel * kPanel + lane, end = min(p.m, (chunk + 1) * chunk_rows);
    const int64_t depth = panel_depth(p.format, p.m);
    const T *g = static_cast<const T*>(p.g), *y = static_cast<const T*>(p.y);
    T *rows = static_cast<T*>(p.rows), sum(0);
    for (int64_t i = chunk * chunk_rows + kGateRows * warp; i < end; i += kGateRows * kGateWarps) {
        const int count = column < p.n ? int(min(int64_t(kGateRows), end - i)) : 0;
        const int64_t at = i * p.n + column;
        T z[kGateRows], out[kGateRows];
#pragma unroll
        for (int j = 0; j < kGateRows; ++j) z[j] = j < count ? g[at + j * p.n] : T(0);
        if (y) {
#pragma unroll
            for (int j = 0; j < kGateRows; ++j) out[j] = j < count ? y[at + j * p.n] : T(0);
#pragma unroll
            for (int j = 0; j < kGateRows; ++j) z[j] *= slope(p.act, out[j]);
        }
#pragma unroll
        for (int j = 0; j < kGateRows; ++j) {
            if (rows && j < count) rows[at + j * p.n] = z[j];
            sum += z[j];
        }
        if (!p.panels) continue;
        const int stored = int(min(int64_t(kGateRows), depth - i));  // the padding of columns and rows is zero
#pragma unroll
        for (int j = 0; j < kGateRows; ++j) {
            if (j >= stored) continue;
            if constexpr (sizeof(T) == 4)
                if (p.format == DType::bf16) {
                    static_cast<uint16_t*>(p.panels)[panel * depth * kPanel + swizzled(i + j, lane)] =
                        uint16_t(pack_bf16(z[j], T(0)));
                    continue;
                }
            static_cast<T*>(p.panels)[(panel * depth + i + j) * kPanel + lane] = z[j];
        }
    }
    if (!sums) return;
    all[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= p.n) return;
    for (int w = 1; w < kGateWarps; ++w) sum += all[w][lane];
    sums[chunk * p.n + column] = sum;
}

// Sums of chunks, whose size is one of m alone, are added in their order.
template <class T>
void gate(const Gate& p, const Launch& launch) {
    const int64_t chunk_rows = p.m > 256 && p.m <= 2048 ? 128 : 256,
                  chunks = p.m ? (p.m + chunk_rows - 1) / chunk_rows : 1;
    T* sums = static_cast<T*>(p.sums);
    if (sums && chunks > 1) sums = static_cast<T*>(launch.scratch(kPartialScratch, size_t(chunks * p.n) * sizeof(T)));
    start(launch, panel_count(p.n) * chunks, kGateThreads, gate_kernel<T>, p, chunk_rows, sums);
    if (sums != p.sums) sum_partials<T>(launch, sums, chunks, p.n, T(0), static_cast<T*>(p.sums));
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
        multiply<T, Lefts::values>(k, n, p.depth, p.left, right_panels(p.right, format), format, launch,
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
    struct Loaded {
        Stepped<T> element[4];
    };
    // The padding of panels is there to be read.
    __device__ Loaded load(int64_t row, int64_t panel, int b) const {
        Loaded loaded;
#pragma unroll
        for (int i = 0; i < 4; ++i) loaded.element[i] = Stepped<T>(slice, (panel * k + row) * kPanel + column_of(b, i));
        return loaded;
    }
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4], Loaded loaded) const {
        const StepNumbers<T> now = numbers.now();
        bool finite = true;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t column = panel * kPanel + column_of(b, i), at = (panel * k + row) * kPanel + column_of(b, i);
            if (column >= n) continue;
            Stepped<T>& element = loaded.element[i];
            T g = sums[i];
            if (before) g += before[at];
            if (columns) g += element.p * columns[column];
            if (slice.g) g += static_cast<const T*>(slice.g)[at];
            element.step(now, T(slice.decay), g);
            element.store(slice, at);
            finite = finite && isfinite(element.p);
        }
        if (!finite) atomicOr(nonfinite, 1);
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
    multiply<T, Lefts::values>(p.k, p.n, last.depth, last.left, right_panels(last.right, p.format), p.format, launch,
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
