// Panels, their transposes, and matrices of bits on the GPU.
#include "kernels/layout/op.h"

#include "cuda/device.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast {
namespace cuda {
namespace {

// ---------------------------------------------------------------- panels

// A square of 32 x 32 elements goes through shared memory, so that reads and writes are both contiguous.
constexpr int kSquare = 32, kSquareThreads = 256;

template <class T>
using Square = T[kSquare][kSquare + 1];

// Rows [k0, k0 + 32) of one panel of `depth` rows; element (i, c) is square[i][c], or square[c][i].
template <class T>
__device__ void store_panel(const Square<T>& square, bool transposed, void* dst, DType format, int64_t depth,
                            int64_t panel, int64_t k0) {
    const auto at = [&](int i, int c) { return transposed ? square[c][i] : square[i][c]; };
    if constexpr (sizeof(T) == 4)
        if (format == DType::bf16) {
            const int i = int(threadIdx.x) / 8, c = int(threadIdx.x) % 8 * 4;
            auto* to = static_cast<uint16_t*>(dst) + panel * depth * kPanel;
            if (k0 + i < depth)
                *reinterpret_cast<uint2*>(to + swizzled(k0 + i, c)) =
                    make_uint2(pack_bf16(at(i, c), at(i, c + 1)), pack_bf16(at(i, c + 2), at(i, c + 3)));
            return;
        }
    const int c = int(threadIdx.x) % 32;
    for (int i = int(threadIdx.x) / 32; i < kSquare && k0 + i < depth; i += kSquareThreads / 32)
        static_cast<T*>(dst)[(panel * depth + k0 + i) * kPanel + c] = at(i, c);
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

// A block a panel of 16-bit fixed point, of the k x n matrix at(i, j): its columns' largest magnitudes first.
template <class At>
__global__ void __launch_bounds__(kSquareThreads) fix_kernel(int64_t k, int64_t n, void* dst, const At at) {
    constexpr int kWarps = kSquareThreads / 32;
    __shared__ float peaks[kWarps][32];
    __shared__ int32_t sums[kWarps][32];
    const int c = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int64_t column = int64_t(blockIdx.x) * kPanel + c;
    char* panel = static_cast<char*>(dst) + int64_t(blockIdx.x) * panel_depth(DType::i16, k) * kPanel * 2;
    float peak = 0;
    if (column < n)
        for (int64_t i = warp; i < k; i += kWarps) peak = fmaxf(peak, fabsf(at(i, column)));
    peaks[warp][c] = peak;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) peak = fmaxf(peak, peaks[w][c]);
    const float scale = peak > 0 ? kFixedMax / peak : 0.f;
    int32_t sum = 0;
    int16_t* body = reinterpret_cast<int16_t*>(panel) + kFixedHeader * kPanel + fixed_place_of(c);
    for (int64_t i = warp; i < k; i += kWarps) {
        const int q = column < n ? __float2int_rn(__fmul_rn(at(i, column), scale)) : 0;
        body[i * kPanel] = int16_t(q);
        sum += q;
    }
    sums[warp][c] = sum;
    __syncthreads();
    if (warp > 0) return;
    for (int w = 1; w < kWarps; ++w) sum += sums[w][c];
    body[k * kPanel] = 0;
    reinterpret_cast<float*>(panel)[c] = peak / kFixedMax;
    reinterpret_cast<int32_t*>(panel)[kPanel + c] = sum;
}

template <class At>
void fix(int64_t k, int64_t n, void* dst, const Launch& launch, const At& at) {
    start(launch, panels(n), kSquareThreads, fix_kernel<At>, k, n, dst, at);
}

struct AtStrides {
    PackPanels p;
    __device__ float operator()(int64_t i, int64_t j) const {
        const float x = static_cast<const float*>(p.src)[i * p.row_stride + j * p.col_stride];
        return p.k_scale ? x * static_cast<const float*>(p.k_scale)[i] : x;
    }
};

// Element (i, j) of the matrix held in float32 panels, or of its transpose.
struct AtPanels {
    const float* src;
    int64_t k;  // of the panels
    bool turned;
    __device__ float operator()(int64_t i, int64_t j) const {
        const int64_t row = turned ? j : i, column = turned ? i : j;
        return src[(column / kPanel * k + row) * kPanel + column % kPanel];
    }
};

template <class T>
void pack_panels(const PackPanels& p, const Launch& launch) {
    if (p.format == DType::i16) return fix(p.k, p.n, p.dst, launch, AtStrides{p});
    start(launch, panels(p.n) * panels(p.k), kSquareThreads, pack_kernel<T>, p);
}

template <class T>
struct alignas(16) Four {
    T value[4] = {};
};

// A block takes several squares below each other, all their loads in flight at once.
constexpr int kTurnSquares = 4;

template <class T>
__global__ void __launch_bounds__(kSquareThreads) turn_kernel(const __grid_constant__ TurnPanels p) {
    __shared__ Square<T> square[kTurnSquares];
    const int64_t count = panel_count(p.n), panel = blockIdx.x % count, n0 = panel * kPanel;
    const int64_t first = blockIdx.x / count * (kTurnSquares * kSquare);
    const int i = int(threadIdx.x) / 8, c = int(threadIdx.x) % 8 * 4;
    const T* src = static_cast<const T*>(p.src) + (panel * p.k + first + i) * kPanel + c;
    Four<T> x[kTurnSquares];
#pragma unroll
    for (int s = 0; s < kTurnSquares; ++s)
        if (first + s * kSquare + i < p.k) x[s] = *reinterpret_cast<const Four<T>*>(src + s * kSquare * kPanel);
    bool bad = false;
#pragma unroll
    for (int s = 0; s < kTurnSquares; ++s)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const T value = n0 + c + j < p.n ? x[s].value[j] : T(0);
            bad |= !isfinite(value);
            square[s][i][c + j] = value;
        }
    if (bad && p.nonfinite) atomicOr(p.nonfinite, 1);
    __syncthreads();
    for (int s = 0; s < kTurnSquares; ++s) {
        const int64_t k0 = first + s * kSquare;
        if (k0 >= p.k) break;
        if (p.same) store_panel<T>(square[s], false, p.same, p.format, panel_depth(p.format, p.k), panel, k0);
        if (p.turned) store_panel<T>(square[s], true, p.turned, p.format, panel_depth(p.format, p.n), k0 / kPanel, n0);
    }
}

template <class T>
void turn_panels(const TurnPanels& p, const Launch& launch) {
    TurnPanels plain = p;  // for i16 only the look for values that are not finite is left
    if (p.format == DType::i16) {
        const float* src = static_cast<const float*>(p.src);
        if (p.same) fix(p.k, p.n, p.same, launch, AtPanels{src, p.k, false});
        if (p.turned) fix(p.n, p.k, p.turned, launch, AtPanels{src, p.k, true});
        plain.same = plain.turned = nullptr;
    }
    constexpr int64_t kRows = kTurnSquares * kSquare;
    start(launch, panels(p.n) * ((p.k + kRows - 1) / kRows), kSquareThreads, turn_kernel<T>, plain);
}

// ---------------------------------------------------------------- bits

// A warp a word: lane j looks at bit j.
template <class T>
__global__ void __launch_bounds__(256) pack_bits_kernel(const __grid_constant__ PackBits p) {
    const int lane = int(threadIdx.x) % 32;
    const int64_t words = (p.cols + 31) / 32, at = int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
    if (at >= p.count * words) return;
    const int64_t i = at / words, j = at % words * 32 + lane;
    T x(0);
    if (j < p.cols) x = static_cast<const T*>(p.src)[(p.order ? p.order[i] : i) * p.row_stride + j];
    const uint32_t word = __ballot_sync(0xffffffffu, x != T(0));
    if (p.other && x != T(0) && x != T(1)) atomicOr(p.other, 1);
    if (lane == 0) p.dst[at] = word;
}

template <class T>
void pack_bits(const PackBits& p, const Launch& launch) {
    start(launch, (p.count * bit_words(p.cols) + 7) / 8, 256, pack_bits_kernel<T>, p);
}

template <class T>
__global__ void __launch_bounds__(256) unpack_bits_kernel(const __grid_constant__ UnpackBits p) {
    const int64_t at = int64_t(blockIdx.x) * 256 + threadIdx.x, i = at / p.cols, j = at % p.cols;
    if (i < p.count) static_cast<T*>(p.dst)[at] = T(p.src[i * ((p.cols + 31) / 32) + j / 32] >> j % 32 & 1u);
}

template <class T>
void unpack_bits(const UnpackBits& p, const Launch& launch) {
    start(launch, (p.count * p.cols + 255) / 256, 256, unpack_bits_kernel<T>, p);
}

// A block takes 32 squares of 32 x 32 bits below each other, so that a row of what it writes is 32 words.
constexpr int kBitSquares = 32, kBitWarps = 8;

__global__ void __launch_bounds__(kBitWarps * 32) turn_bits_kernel(const __grid_constant__ TurnBits p) {
    __shared__ uint32_t turned[32][kBitSquares + 1];
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int64_t in = (p.cols + 31) / 32, out = (p.rows + 31) / 32;
    const int64_t word = blockIdx.x % in, first = blockIdx.x / in * kBitSquares;
    uint32_t source[kBitSquares / kBitWarps];
#pragma unroll
    for (int i = 0; i < kBitSquares / kBitWarps; ++i) {
        const int64_t row = (first + i * kBitWarps + warp) * 32 + lane;
        source[i] = row < p.rows ? p.src[row * in + word] : 0u;
    }
#pragma unroll
    for (int i = 0; i < kBitSquares / kBitWarps; ++i) {
        uint32_t mine = 0;
#pragma unroll
        for (int c = 0; c < 32; ++c) {
            const uint32_t column = __ballot_sync(0xffffffffu, source[i] >> c & 1u);
            if (lane == c) mine = column;
        }
        turned[lane][i * kBitWarps + warp] = mine;
    }
    __syncthreads();
    for (int c = warp; c < 32 && word * 32 + c < p.cols; c += kBitWarps)
        if (first + lane < out) p.dst[(word * 32 + c) * out + first + lane] = turned[c][lane];
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(PackPanels, cuda::pack_panels)
USF_CUDA_KERNEL_BY_DTYPE(TurnPanels, cuda::turn_panels)
USF_CUDA_KERNEL_BY_DTYPE(PackBits, cuda::pack_bits)
USF_CUDA_KERNEL_BY_DTYPE(UnpackBits, cuda::unpack_bits)
USF_KERNEL(cuda, TurnBits) {
    const int64_t squares = (bit_words(p.rows) + cuda::kBitSquares - 1) / cuda::kBitSquares;
    cuda::start(launch, bit_words(p.cols) * squares, cuda::kBitWarps * 32, cuda::turn_bits_kernel, p);
}

}  // namespace unsupfast
