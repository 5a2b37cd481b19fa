// Reductions on the GPU. What is reduced is cut into pieces of a fixed length; a piece ends in a double, and pieces are
// joined in their order.
#include "kernels/reduce/op.h"

#include "cuda/device.h"

namespace unsupfast {
namespace cuda {
namespace {

enum ReduceScratch : int { kPieceScratch = 4 };

constexpr int kThreads = 256;
constexpr int64_t kPiece = 64 * kThreads;  // neighbours
constexpr int64_t kPieceRows = 512;        // the same of columns, in rows

__device__ __forceinline__ double nothing(Reduction f) { return f == Reduction::sum ? 0. : -INFINITY; }

template <class T>
__device__ __forceinline__ T join(Reduction f, T a, T x) {
    return f == Reduction::sum ? a + x : x > a || x != x ? x : a;
}

// part[piece][o] for inner = 1, a block an item; where part is null there is one piece, and it is the result
template <class T>
__global__ void __launch_bounds__(kThreads) neighbours_kernel(const __grid_constant__ Reduce p, double* part) {
    const int64_t piece = blockIdx.x / p.outer, o = blockIdx.x % p.outer, first = piece * kPiece;
    const T* x = static_cast<const T*>(p.x) + o * p.reduced + first;
    const int64_t count = p.reduced - first < kPiece ? p.reduced - first : kPiece;
    T own = T(nothing(p.f));
    for (int64_t i = threadIdx.x; i < count; i += kThreads) own = join(p.f, own, x[i]);
    __shared__ double all[kThreads];
    all[threadIdx.x] = own;
    for (int d = kThreads / 2; d > 0; d /= 2) {
        __syncthreads();
        if (threadIdx.x < d) all[threadIdx.x] = join(p.f, all[threadIdx.x], all[threadIdx.x + d]);
    }
    if (threadIdx.x > 0) return;
    if (part)
        part[blockIdx.x] = all[0];
    else
        static_cast<T*>(p.y)[o] = T(p.scale * all[0]);
}

// part[piece][o][i], a thread a column of a piece
template <class T>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(const __grid_constant__ Reduce p, int64_t items, double* part) {
    const int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x, results = p.outer * p.inner;
    if (item >= items) return;
    const int64_t piece = item / results, o = item % results / p.inner, i = item % p.inner, first = piece * kPieceRows;
    const T* x = static_cast<const T*>(p.x) + (o * p.reduced + first) * p.inner + i;
    const int64_t count = p.reduced - first < kPieceRows ? p.reduced - first : kPieceRows;
    double total = nothing(p.f);
    for (int64_t r = 0; r < count; ++r) total = join(p.f, total, double(x[r * p.inner]));
    if (part)
        part[item] = total;
    else
        static_cast<T*>(p.y)[item] = T(p.scale * total);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_kernel(const __grid_constant__ Reduce p, int64_t pieces, const double* part) {
    const int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x, results = p.outer * p.inner;
    if (item >= results) return;
    double total = nothing(p.f);
    for (int64_t piece = 0; piece < pieces; ++piece) total = join(p.f, total, part[piece * results + item]);
    static_cast<T*>(p.y)[item] = T(p.scale * total);
}

template <class T>
void reduce(const Reduce& p, const Launch& launch) {
    const int64_t length = p.inner == 1 ? kPiece : kPieceRows, pieces = (p.reduced + length - 1) / length;
    const int64_t results = p.outer * p.inner, items = results * pieces;
    if (results == 0) return;
    double* part =
        pieces == 1 ? nullptr : static_cast<double*>(launch.scratch(kPieceScratch, size_t(items) * sizeof(double)));
    if (p.inner == 1)
        start(launch, items, kThreads, neighbours_kernel<T>, p, part);
    else
        start(launch, (items + kThreads - 1) / kThreads, kThreads, columns_kernel<T>, p, items, part);
    if (pieces != 1) start(launch, (results + kThreads - 1) / kThreads, kThreads, join_kernel<T>, p, pieces, part);
}

template <class T>
__global__ void __launch_bounds__(32) tally_kernel(const __grid_constant__ Tally p) {
    const int i = int(threadIdx.x);
    if (i < p.count) p.totals[i] += p.weight * double(*static_cast<const T*>(p.x[i]));
}

template <class T>
void tally(const Tally& p, const Launch& launch) {
    start(launch, p.count ? 1 : 0, 32, tally_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Reduce, cuda::reduce)
USF_CUDA_KERNEL_BY_DTYPE(Tally, cuda::tally)

}  // namespace unsupfast
