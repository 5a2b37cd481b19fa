// Plain product, panel layouts and column sums on the GPU.
#include "kernels/gemm/engine.cuh"

namespace unsupfast {
namespace cuda {
namespace {

template <class T>
struct StoreProduct {
    T* c;
    int64_t ldc, n;
    T alpha, beta;

    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, T) const {}
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4]) const {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int64_t column = panel * kPanel + column_of(b, w);
            if (column >= n) continue;
            T* q = c + row * ldc + column;
            *q = beta == T(0) ? alpha * sums[w] : alpha * sums[w] + beta * *q;
        }
        return T(0);
    }
};

template <class T>
void gemm(const Gemm& p, const Launch& launch) {
    multiply<T>(p.m, p.n, p.k, p.a, right_panels(p.b), p.format, launch,
                StoreProduct<T>{static_cast<T*>(p.c), p.ldc, p.n, T(p.alpha), T(p.beta)});
}

// ---------------------------------------------------------------- panels

// A square of 32 x 32 elements goes through shared memory, so that reads and writes are both contiguous.
constexpr int kSquare = 32, kSquareThreads = 256;

template <class T>
using Square = T[kSquare][kSquare + 1];

// Rows [k0, k0 + 32) of one panel of `depth` rows; element (i, c) is square[i][c], or square[c][i].
template <class T>
__device__ void store_panel(const Square<T>& square, bool transposed, void* dst, DType format, int64_t depth,
                            int64_t panel, int64_t k0) {
    const int c = int(threadIdx.x) % 32;
    const auto at = [&](int i) { return transposed ? square[c][i] : square[i][c]; };
    if constexpr (sizeof(T) == 4)
        if (format == DType::bf16) {
            for (int i = int(threadIdx.x) / 32 * 2; i < kSquare && k0 + i < depth; i += kSquareThreads / 32 * 2)
                static_cast<uint32_t*>(dst)[(panel * depth + k0 + i) / 2 * kPanel + c] = pack_bf16(at(i), at(i + 1));
            return;
        }
    for (int i = int(threadIdx.x) / 32; i < kSquare && k0 + i < depth; i += kSquareThreads / 32)
        static_cast<T*>(dst)[(panel * depth + k0 + i) * kPanel + c] = at(i);
}

template <class T>
__global__ void __launch_bounds__(kSquareThreads) pack_kernel(const __grid_constant__ PackPanels p) {
    __shared__ Square<T> square;
    const int64_t count = panel_count(p.n), panel = blockIdx.x % count;
    const int64_t n0 = panel * kPanel, k0 = blockIdx.x / count * kSquare;
    const T* src = static_cast<const T*>(p.src);
    const bool along_k = p.row_stride == 1;
    for (int e = int(threadIdx.x); e < kSquare * kSquare; e += kSquareThreads) {
        const int i = along_k ? e % kSquare : e / kSquare, c = along_k ? e / kSquare : e % kSquare;
        const bool inside = k0 + i < p.k && n0 + c < p.n;
        T value = inside ? src[(k0 + i) * p.row_stride + (n0 + c) * p.col_stride] : T(0);
        if (inside && p.k_scale) value *= static_cast<const T*>(p.k_scale)[k0 + i];
        square[i][c] = value;
    }
    __syncthreads();
    store_panel<T>(square, false, p.dst, p.format, panel_depth(p.format, p.k), panel, k0);
}

template <class T>
void pack_panels(const PackPanels& p, const Launch& launch) {
    start(launch, panels(p.n) * panels(p.k), kSquareThreads, pack_kernel<T>, p);
}

template <class T>
__global__ void __launch_bounds__(kSquareThreads) turn_kernel(const __grid_constant__ TurnPanels p) {
    __shared__ Square<T> square;
    const int64_t count = panel_count(p.n), panel = blockIdx.x % count;
    const int64_t n0 = panel * kPanel, k0 = blockIdx.x / count * kSquare;
    const T* src = static_cast<const T*>(p.src) + (panel * p.k + k0) * kPanel;
    bool bad = false;
    for (int e = int(threadIdx.x); e < kSquare * kSquare; e += kSquareThreads) {
        const int i = e / kSquare, c = e % kSquare;
        const T x = k0 + i < p.k && n0 + c < p.n ? src[i * kPanel + c] : T(0);
        bad |= !isfinite(x);
        square[i][c] = x;
    }
    if (bad && p.nonfinite) atomicOr(p.nonfinite, 1);
    __syncthreads();
    if (p.same) store_panel<T>(square, false, p.same, p.format, panel_depth(p.format, p.k), panel, k0);
    if (p.turned) store_panel<T>(square, true, p.turned, p.format, panel_depth(p.format, p.n), k0 / kPanel, n0);
}

template <class T>
void turn_panels(const TurnPanels& p, const Launch& launch) {
    start(launch, panels(p.n) * panels(p.k), kSquareThreads, turn_kernel<T>, p);
}

// ---------------------------------------------------------------- column sums

// Rows are summed in chunks of fixed size and the chunks in order: the result is the same on every GPU.
constexpr int64_t kChunkRows = 256;

// Dense: 32 columns and one chunk a block; eight warps take every eighth row.
template <class T>
__global__ void __launch_bounds__(256)
    column_sum_kernel(int64_t rows, int64_t cols, const __grid_constant__ Left x, const T* weight, T* partial) {
    __shared__ T sums[8][32];
    const int64_t col_blocks = (cols + 31) / 32, chunk = blockIdx.x / col_blocks;
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int64_t column = blockIdx.x % col_blocks * 32 + lane;
    T sum(0);
    if (column < cols) {
        const int64_t end = min(rows, (chunk + 1) * kChunkRows);
        const T* data = static_cast<const T*>(x.data) + column * x.col_stride;
        for (int64_t i = chunk * kChunkRows + warp; i < end; i += 8)
            sum += (weight ? weight[i] : T(1)) * data[i * x.row_stride];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= cols) return;
    for (int w = 1; w < 8; ++w) sum += sums[w][lane];
    partial[chunk * cols + column] = sum;
}

// CSR: one warp takes kCsrColumns columns of one chunk, and adds row after row to sums in shared memory.
constexpr int kCsrColumns = 1024;

template <class T>
__global__ void __launch_bounds__(32)
    csr_column_sum_kernel(int64_t rows, int64_t cols, const __grid_constant__ Left x, const T* weight, T* partial) {
    __shared__ T sums[kCsrColumns];
    const int64_t col_blocks = (cols + kCsrColumns - 1) / kCsrColumns, chunk = blockIdx.x / col_blocks;
    const int64_t c0 = blockIdx.x % col_blocks * kCsrColumns, c1 = min(cols, c0 + kCsrColumns);
    const int64_t row_end = min(rows, (chunk + 1) * kChunkRows);
    const int lane = int(threadIdx.x);
    const T* data = static_cast<const T*>(x.data);
    for (int c = lane; c < kCsrColumns; c += 32) sums[c] = T(0);
    __syncwarp();
    for (int64_t i = chunk * kChunkRows; i < row_end; ++i) {
        const int64_t row_begin = x.indptr[i], end = x.indptr[i + 1];
        int64_t begin = row_begin, stop = end;
        while (begin < stop) {  // the first entry of these columns
            const int64_t middle = (begin + stop) / 2;
            if (x.indices[middle] < c0)
                begin = middle + 1;
            else
                stop = middle;
        }
        const T factor = weight ? weight[i] : T(1);
        for (int64_t e = begin + lane; e < end; e += 32) {
            const int32_t c = x.indices[e];
            if (c >= c1) break;
            // an index that a row names twice is summed by the lane that sees it first
            if (e > row_begin && x.indices[e - 1] == c) continue;
            T value(0);
            for (int64_t f = e; f < end && x.indices[f] == c; ++f) value += data[f];
            sums[c - c0] += factor * value;
        }
        __syncwarp();
    }
    for (int64_t c = c0 + lane; c < c1; c += 32) partial[chunk * cols + c] = sums[c - c0];
}

template <class T>
void column_sum(const ColumnSum& p, const Launch& launch) {
    const int64_t chunks = (p.rows + kChunkRows - 1) / kChunkRows;
    T* partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(chunks * p.cols) * sizeof(T)));
    const T* weight = static_cast<const T*>(p.weight);
    if (p.x.indptr)
        start(launch, chunks * ((p.cols + kCsrColumns - 1) / kCsrColumns), 32, csr_column_sum_kernel<T>, p.rows, p.cols,
              p.x, weight, partial);
    else
        start(launch, chunks * ((p.cols + 31) / 32), 256, column_sum_kernel<T>, p.rows, p.cols, p.x, weight, partial);
    sum_partials<T>(launch, partial, chunks, p.cols, T(p.beta), static_cast<T*>(p.out));
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Gemm, cuda::gemm)
USF_CUDA_KERNEL_BY_DTYPE(PackPanels, cuda::pack_panels)
USF_CUDA_KERNEL_BY_DTYPE(TurnPanels, cuda::turn_panels)
USF_CUDA_KERNEL_BY_DTYPE(ColumnSum, cuda::column_sum)

}  // namespace unsupfast
