// Plain product and column sums on the GPU.
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
    multiply<T>(p.m, p.n, p.k, p.a, right_panels(p.b, p.format), p.format, launch,
                StoreProduct<T>{static_cast<T*>(p.c), p.ldc, p.n, T(p.alpha), T(p.beta)});
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
        for (int64_t i = chunk * kChunkRows + warp; i < end; i += 8) {
            const T value =
                x.bits ? T(x.bits[i * x.row_stride + column / 32] >> column % 32 & 1u) : data[i * x.row_stride];
            sum += (weight ? weight[i] : T(1)) * value;
        }
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
USF_CUDA_KERNEL_BY_DTYPE(ColumnSum, cuda::column_sum)

}  // namespace unsupfast
