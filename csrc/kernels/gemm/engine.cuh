// The GEMM engine of the GPU. A block computes one tile of the output: step by step along k, the prologue
// fetches both operands into registers and from there into shared memory (dense with any strides, CSR rows,
// bits, patches of maps, panels; scaled and rounded on the way), while the tile fetched before is multiplied from
// shared memory. The epilogue gets the sums in registers, four columns of a row at a time.
//
// With FMA every output is one chain of multiply-adds in the order of k, on the tensor cores one of products
// of depth 16, or an integer: results do not depend on the size of the tiles, and two runs agree bitwise.
#pragma once
#include "kernels/gemm/hopper.cuh"
#include "kernels/gemm/operands.cuh"
#include "kernels/gemm/patches.h"

namespace unsupfast::cuda {

// A panel in 16-bit fixed point: it begins with the units of its columns. Element (k, column c) of it.
__device__ __forceinline__ const char* fixed_panel(const Right& b, int64_t k, int64_t panel) {
    return static_cast<const char*>(b.data) + panel * panel_depth(DType::i16, k) * kPanel * 2;
}
__device__ __forceinline__ float fixed_unit(const char* panel, int c) {
    return reinterpret_cast<const float*>(panel)[c];
}
__device__ __forceinline__ float fixed_value(const char* panel, int64_t k, int c) {
    const int16_t q = reinterpret_cast<const int16_t*>(panel)[(k + kFixedHeader) * kPanel + fixed_place_of(c)];
    return float(q) * fixed_unit(panel, c);
}

template <class Format>
__device__ __forceinline__ typename Format::Word make_word(typename Format::Value first,
                                                           typename Format::Value second) {
    if constexpr (Format::kPair == 2)
        return pack_bf16(first, second);
    else
        return first;
}

// 16 bytes at a time from shared memory
template <int kCount, class T>
__device__ __forceinline__ void load_run(const T* from, T (&to)[kCount]) {
    constexpr int kChunk = 16 / sizeof(T);
    struct alignas(16) Chunk {
        T value[kChunk];
    };
#pragma unroll
    for (int i = 0; i < kCount; i += kChunk) {
        const Chunk chunk = *reinterpret_cast<const Chunk*>(from + i);
#pragma unroll
        for (int j = 0; j < kChunk; ++j) to[i + j] = chunk.value[j];
    }
}

// The prologue of the left operand. Dense: neighbouring threads read along whichever of k and rows is
// contiguous in memory. CSR: a thread walks one row, and scatters a step's entries into its zeroed part of
// the tile.
template <class Tile>
class LeftStage {
    using F = typename Tile::Format;
    using Value = typename F::Value;
    using Word = typename F::Word;
    static constexpr int kCount = Tile::rows * Tile::depth / Tile::threads;
    static constexpr int kSpan = Tile::depth * F::kPair;

  public:
    __device__ LeftStage(const Left& a, int64_t m, int64_t k, int64_t m0)
        : a_(a), data_(static_cast<const Value*>(a.data)), scale_(static_cast<const Value*>(a.k_scale)), k_(k) {
        const int t = int(threadIdx.x);
        if (a.indptr) {
            row_ = t;
            if (t < Tile::rows && m0 + t < m) {
                at_ = a.indptr[m0 + t];
                end_ = a.indptr[m0 + t + 1];
            }
            return;
        }
        const bool along_rows = a.row_stride == 1 && !a.bits;
        row_ = along_rows ? t % Tile::rows : t / Tile::depth;
        word_ = along_rows ? t / Tile::rows : t % Tile::depth;
        row_step_ = along_rows ? 0 : Tile::threads / Tile::depth;
        word_step_ = along_rows ? Tile::threads / Tile::rows : 0;
        rows_left_ = int(min(m - m0, int64_t(Tile::rows)));
        m0_ = m0;
        at_ = (m0 + row_) * a.row_stride + int64_t(word_) * F::kPair * a.col_stride;
        step_ = row_step_ * a.row_stride + int64_t(word_step_) * F::kPair * a.col_stride;
    }

    // Reads the step that starts at k0; steps come in order.
    __device__ void load(int64_t k0) {
        if (a_.indptr) return;
        const int k_left = int(min(k_ - k0, int64_t(kSpan)));
        if constexpr (std::is_same_v<F, Fixed>) {
            const int k = word_ * F::kPair;
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                const int row = row_ + i * row_step_;
                staged_[i] = row < rows_left_ && k < k_left ? bytes_of_bits(four_bits(m0_ + row, k0 + k)) : 0u;
            }
        } else {
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                Value value[F::kPair];
#pragma unroll
                for (int j = 0; j < F::kPair; ++j) {
                    const int k = (word_ + i * word_step_) * F::kPair + j;
                    value[j] = Value(0);
                    if (row_ + i * row_step_ < rows_left_ && k < k_left) {
                        if (a_.patches.height) {
                            value[j] = patch_value(m0_ + row_ + i * row_step_, k0 + k);
                            continue;
                        }
                        if (a_.bits) {
                            value[j] = Value(bits_at(m0_ + row_ + i * row_step_, k0 + k) & 1u);
                            continue;
                        }
                        value[j] = data_[at_ + i * step_ + j * a_.col_stride];
                        if (scale_) value[j] *= scale_[k0 + k];
                    }
                }
                staged_[i] = make_word<F>(value[0], value[F::kPair - 1]);
            }
            at_ += kSpan * a_.col_stride;
        }
    }

    __device__ void store(int64_t k0, Word* tile) {
        if (!a_.indptr) {
#pragma unroll
            for (int i = 0; i < kCount; ++i)
                tile[(word_ + i * word_step_) * Tile::left_stride + row_ + i * row_step_] = staged_[i];
            return;
        }
        if (row_ >= Tile::rows) return;
        tile += row_;
#pragma unroll
        for (int w = 0; w < Tile::depth; ++w) tile[w * Tile::left_stride] = Word(0);
        while (at_ < end_) {
            const int64_t k = a_.indices[at_];
            if (k >= k0 + kSpan) break;
            Value value(0);
            do value += data_[at_++];
            while (at_ < end_ && a_.indices[at_] == k);
            if (scale_) value *= scale_[k];
            const int local = int(k - k0);
            if constexpr (F::kPair == 2)
                tile[local / 2 * Tile::left_stride] |= pack_bf16(value, 0.f) << (local % 2 * 16);
            else
                tile[local * Tile::left_stride] = value;
        }
    }

  private:
    __device__ uint32_t bits_at(int64_t row, int64_t k) const {
        return a_.bits[row * a_.row_stride + k / 32] >> k % 32;
    }

    // Those of k to k + 3. What lies past the end meets weights of 0.
    __device__ uint32_t four_bits(int64_t row, int64_t k) const {
        if (!a_.patches.height) return bits_at(row, k);
        uint32_t bits = 0;
        for (int j = 0; j < 4 && k + j < k_; ++j) {
            const PatchPlace at = patch_place(a_.patches, row, k + j);
            if (at.row >= 0) bits |= (bits_at(at.row, at.element) & 1u) << j;
        }
        return bits;
    }

    __device__ Value patch_value(int64_t row, int64_t k) const {
        const PatchPlace at = patch_place(a_.patches, row, k);
        if (at.row < 0) return Value(0);
        if (a_.bits) return Value(bits_at(at.row, at.element) & 1u);
        const Value value = data_[at.row * a_.row_stride + at.element];
        return scale_ ? value * scale_[k] : value;
    }

    const Left& a_;
    const Value *data_, *scale_;
    int64_t k_;
    int64_t m0_ = 0;
    int64_t at_ = 0, step_ = 0;  // dense: offset of the next element, and to that of the next i
    int64_t end_ = 0;            // CSR: [at_, end_) is left of the row
    int rows_left_ = 0, row_ = 0, word_ = 0, row_step_ = 0, word_step_ = 0;
    Word staged_[kCount];
};

// The prologue of the right operand: a warp reads 32 columns of one word along k.
template <class Tile>
class RightStage {
    using F = typename Tile::Format;
    using Value = typename F::Value;
    using Word = typename F::Word;
    static constexpr int kCount = Tile::cols * Tile::depth / Tile::threads;

  public:
    __device__ RightStage(const Right& b, int64_t n, int64_t k, int64_t n0)
        : b_(b),
          k_(k),
          n0_(n0),
          panel_stride_(b.is_panels ? (k + F::kPair - 1) / F::kPair * kPanel : kPanel),
          word_stride_(b.is_panels ? kPanel : b.row_stride * F::kPair),
          cols_left_(int(min(n - n0, int64_t(Tile::cols)))) {
        at_ = n0 / kPanel * panel_stride_ + word(0) * word_stride_ + int(threadIdx.x) % 32;
        if constexpr (std::is_same_v<F, Fixed>) {
            panel_stride_ = panel_depth(DType::i16, k) * kPanel;
            at_ = n0 / kPanel * panel_stride_ + kFixedHeader * kPanel + fixed_place_of(int(threadIdx.x) % 32);
        }
    }

    // Reads the step that starts at k0 in a pass over k; steps come in order.
    __device__ void load(int64_t k0, int pass) {
        const int k_left = int(min(k_ - k0, int64_t(Tile::depth * F::kPair)));
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const int k = word(i) * F::kPair;
            const int64_t at = at_ + panel(i) * panel_stride_ + (word(i) - word(0)) * word_stride_;
            staged_[i] = Word(0);
            if (k >= k_left || panel(i) * int(kPanel) + int(threadIdx.x) % 32 >= cols_left_) continue;
            if constexpr (std::is_same_v<F, Fixed>) {
                const int16_t* from =
                    static_cast<const int16_t*>(b_.data) + at_ + panel(i) * panel_stride_ + (k0 + k) * kPanel;
#pragma unroll
                for (int j = 0; j < F::kPair; ++j)
                    if (k + j < k_left) staged_[i] |= byte_of_fixed(from[j * kPanel], pass) << 8 * j;
                continue;
            }
            if constexpr (std::is_same_v<Word, float>)
                if (b_.is_fixed) {
                    const char* from = fixed_panel(b_, k_, n0_ / kPanel + panel(i));
                    staged_[i] = fixed_value(from, k0 + k, int(threadIdx.x) % 32);
                    continue;
                }
            if (b_.is_panels) {
                if constexpr (F::kPair == 2) {
                    const auto* from =
                        static_cast<const uint16_t*>(b_.data) + (n0_ / kPanel + panel(i)) * panel_stride_ * 2;
                    const int c = int(threadIdx.x) % 32;
                    staged_[i] = from[swizzled(k0 + k, c)] | uint32_t(from[swizzled(k0 + k + 1, c)]) << 16;
                } else {
                    staged_[i] = static_cast<const Word*>(b_.data)[at];
                }
                continue;
            }
            const Value* from = static_cast<const Value*>(b_.data) + at;
            const Value* scale = static_cast<const Value*>(b_.k_scale);
            Value value[F::kPair] = {};
#pragma unroll
            for (int j = 0; j < F::kPair; ++j)
                if (k + j < k_left) value[j] = from[j * b_.row_stride] * (scale ? scale[k0 + k + j] : Value(1));
            staged_[i] = make_word<F>(value[0], value[F::kPair - 1]);
        }
        if constexpr (!std::is_same_v<F, Fixed>) at_ += Tile::depth * word_stride_;
    }

    __device__ void store(Word* tile) const {
        tile += right_place<Tile::kMma>(int(threadIdx.x) % 32);
#pragma unroll
        for (int i = 0; i < kCount; ++i) tile[word(i) * Tile::right_stride + panel(i) * int(kPanel)] = staged_[i];
    }

  private:
    static __device__ int panel(int i) { return i * Tile::warps / Tile::depth; }
    static __device__ int word(int i) { return int(threadIdx.x) / 32 + i * Tile::warps % Tile::depth; }

    const Right& b_;
    int64_t k_, n0_, panel_stride_, word_stride_, at_;
    int cols_left_;
    Word staged_[kCount];
};

// The accumulators of a thread, and how they are multiplied and handed to the epilogue. An epilogue is
//   T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4])   columns b + 8 w of the panel
//   bool wants_row_sums()
//   void row_sum(int64_t row, int64_t panel, T)                the sum of what it returned for the row's panel
// It may have a load(row, panel, b) whose result comes in as a further argument; and, to write words of bits, after
// that a uint32_t& in which it sets those of its four columns, bool wants_words(), and
//   void store_word(int64_t row, int64_t panel, uint32_t)      the bits of all the panel's columns
// It runs in a loop that is not unrolled, over a copy of the sums that can be indexed (the compiler puts it
// in local memory): dozens of copies of the epilogue would take minutes to compile and overflow the
// instruction cache, while the copy costs less than one step of the main loop.
template <class Tile>
class Accumulators;

template <class T, int kSide>
class Accumulators<Tile<Fma<T>, kSide>> {
    using Tile = cuda::Tile<Fma<T>, kSide>;
    using Map = FmaMap<Tile>;

  public:
    __device__ void multiply(const T* left, const T* right, int) {
        const int t = int(threadIdx.x);
        left += Map::row(t, 0);
        right += Map::panel(t, 0) * int(kPanel) + right_place<false>(Map::b(t));
#pragma unroll 2
        for (int w = 0; w < Tile::depth; ++w) {
            T a[Tile::thread_rows];
            load_run(left + w * Tile::left_stride, a);
#pragma unroll
            for (int p = 0; p < Tile::thread_panels; ++p) {
                T b[4];
                load_run(right + w * Tile::right_stride + p * int(kPanel), b);
#pragma unroll
                for (int i = 0; i < Tile::thread_rows; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum_[p][i][j] = fma(a[i], b[j], sum_[p][i][j]);
            }
        }
    }

    template <class Epilogue>
    __device__ void finish(int64_t m, int64_t n, int64_t, int64_t m0, int64_t n0, const Right&,
                           const Epilogue& epilogue) const {
        constexpr int kRows = Tile::thread_rows;
        const int t = int(threadIdx.x);
        T kept[Tile::thread_panels * kRows][4];
#pragma unroll
        for (int i = 0; i < Tile::thread_panels * kRows; ++i)
#pragma unroll
            for (int w = 0; w < 4; ++w) kept[i][w] = sum_[i / kRows][i % kRows][w];
#pragma unroll 1
        for (int i = 0; i < Tile::thread_panels * kRows; ++i) {
            const int64_t row = m0 + Map::row(t, i % kRows), panel = n0 / kPanel + Map::panel(t, i / kRows);
            const bool inside = row < m && panel < panel_count(n);
            RowEnd<T> end;
            if (inside) end.add(epilogue, row, panel, Map::b(t), kept[i], load_for(epilogue, row, panel, Map::b(t)));
            end.template finish<8>(epilogue, row, panel, inside && Map::b(t) == 0);
        }
    }

  private:
    T sum_[Tile::thread_panels][Tile::thread_rows][4] = {};
};

template <class Format, int kSide>
    requires(Format::kPair > 1)
class Accumulators<Tile<Format, kSide>> {
    using Tile = cuda::Tile<Format, kSide>;
    using Map = MmaMap<Tile>;

  public:
    __device__ void multiply(const uint32_t* left, const uint32_t* right, int pass) {
        const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
        right += Map::panel(warp) * int(kPanel) + lane / 4;
#pragma unroll
        for (int w = 0; w < Tile::depth; w += 8) {
            uint32_t b[4][2];
#pragma unroll
            for (int g = 0; g < 4; ++g)
#pragma unroll
                for (int r = 0; r < 2; ++r)
                    b[g][r] = right[(w + frag_word(lane, r)) * Tile::right_stride + column_of(0, g)];
#pragma unroll
            for (int f = 0; f < Tile::warp_frags; ++f) {
                uint32_t a[4];
#pragma unroll
                for (int r = 0; r < 4; ++r)
                    a[r] = left[(w + frag_word(lane, r / 2)) * Tile::left_stride + Map::row(warp, f) +
                                frag_row(lane, r % 2)];
#pragma unroll
                for (int g = 0; g < 4; ++g) {
                    if constexpr (std::is_same_v<Format, Bf16>)
                        mma_bf16(sum_[f][g], a, b[g]);
                    else if (pass == 0)
                        mma_bytes<true>(sum_[f][g], a, b[g]);
                    else
                        mma_bytes<false>(sum_[f][g], a, b[g]);
                }
            }
        }
    }

    // What was summed is of bytes that count 256 times what those of the next pass do.
    __device__ void next_pass() {
#pragma unroll
        for (int f = 0; f < Tile::warp_frags; ++f)
#pragma unroll
            for (int i = 0; i < 16; ++i) sum_[f][i / 4][i % 4] *= 256;
    }

    template <class Epilogue>
    __device__ void finish(int64_t m, int64_t n, int64_t k, int64_t m0, int64_t n0, const Right& right,
                           const Epilogue& epilogue) const {
        const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
        const int64_t panel = n0 / kPanel + Map::panel(warp);
        float kept[Tile::warp_frags * 4][4];
#pragma unroll
        for (int i = 0; i < Tile::warp_frags * 4; ++i)
#pragma unroll
            for (int w = 0; w < 4; ++w) kept[i][w] = float(sum_[i / 4][w][i % 4]);
        if constexpr (std::is_same_v<Format, Fixed>)
            if (panel < panel_count(n)) {
                const char* units = fixed_panel(right, k, panel);
#pragma unroll
                for (int i = 0; i < Tile::warp_frags * 4; ++i)
#pragma unroll
                    for (int w = 0; w < 4; ++w) kept[i][w] *= fixed_unit(units, column_of(frag_column(lane, i % 2), w));
            }
        RowEnd<float> end;
#pragma unroll 1
        for (int i = 0; i < Tile::warp_frags * 4; ++i) {
            const int odd = i % 2;
            const int64_t row = m0 + Map::row(warp, i / 4) + frag_row(lane, i / 2 % 2);
            const bool inside = row < m && panel < panel_count(n);
            const int b = frag_column(lane, odd);
            if (inside) end.add(epilogue, row, panel, b, kept[i], load_for(epilogue, row, panel, b));
            if (!odd) continue;
            end.template finish<4>(epilogue, row, panel, inside && lane % 4 == 0);
            end = {};
        }
    }

  private:
    typename Format::Sum sum_[Tile::warp_frags][4][4] = {};
};

template <class Tile, class Epilogue>
__global__ void __launch_bounds__(Tile::threads, Tile::min_blocks)
    multiply_kernel(int64_t m, int64_t n, int64_t k, const __grid_constant__ Left a, const __grid_constant__ Right b,
                    const __grid_constant__ Epilogue epilogue) {
    using Word = typename Tile::Format::Word;
    constexpr int kSpan = Tile::depth * Tile::Format::kPair;
    alignas(16) __shared__ Word left[2][Tile::depth * Tile::left_stride];
    alignas(16) __shared__ Word right[2][Tile::depth * Tile::right_stride];
    // row tiles first, so that blocks that run side by side share columns of the right operand
    const int64_t row_tiles = (m + Tile::rows - 1) / Tile::rows;
    const int64_t m0 = blockIdx.x % row_tiles * Tile::rows, n0 = blockIdx.x / row_tiles * Tile::cols;

    LeftStage<Tile> left_stage(a, m, k, m0);
    RightStage<Tile> right_stage(b, n, k, n0);
    Accumulators<Tile> sums;
    // the passes over k, one after the other
    constexpr int kPasses = Tile::Format::kPasses;
    const int64_t depth = (k + kSpan - 1) / kSpan * kSpan;
    const auto pass = [&](int64_t at) { return kPasses > 1 && at >= depth ? 1 : 0; };
    const auto load = [&](int64_t at) {
        left_stage.load(at - pass(at) * depth);
        right_stage.load(at - pass(at) * depth, pass(at));
    };
    const auto store = [&](int64_t at, int buffer) {
        left_stage.store(at - pass(at) * depth, left[buffer]);
        right_stage.store(right[buffer]);
    };
    load(0);
    store(0, 0);
    __syncthreads();
    int buffer = 0;
    for (int64_t at = 0; at < kPasses * depth; at += kSpan, buffer ^= 1) {
        const bool more = at + kSpan < kPasses * depth;
        if (more) load(at + kSpan);
        if constexpr (kPasses > 1)
            if (at == depth) sums.next_pass();
        sums.multiply(left[buffer], right[buffer], pass(at));
        // nobody reads the other buffer any more: it was multiplied before the last barrier
        if (more) store(at + kSpan, buffer ^ 1);
        __syncthreads();
    }
    sums.finish(m, n, k, m0, n0, b, epilogue);
}

// A block a tile, large tiles once there are enough of them to give every multiprocessor of a large GPU one.
template <class Format, class Epilogue>
void multiply_format(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, const Launch& launch,
                     const Epilogue& epilogue) {
    constexpr int64_t kEnough = 128;
    const auto tiles = [&](int64_t side) { return ((m + side - 1) / side) * ((n + side - 1) / side); };
    const auto go = [&]<int kSide>(Tile<Format, kSide>) {
        using Tile = cuda::Tile<Format, kSide>;
        start(launch, tiles(kSide), Tile::threads, multiply_kernel<Tile, Epilogue>, m, n, k, a, b, epilogue);
    };
    if constexpr (sizeof(typename Format::Value) == 4)  // 64 accumulators in float64 do not fit
        if (tiles(128) >= kEnough) return go(Tile<Format, 128>());
    if (tiles(64) >= kEnough)
        go(Tile<Format, 64>());
    else
        go(Tile<Format, 32>());
}

// Runs the epilogue on A (m x k) times b (k x n). Hopper's engine takes no patches.
template <class T, Lefts kLefts = Lefts::any, class Epilogue>
void multiply(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, DType format, const Launch& launch,
              const Epilogue& epilogue) {
    if (m == 0 || n == 0) return;
    if constexpr (sizeof(T) == 4) {
        if constexpr (kLefts != Lefts::patches)
            if (hopper::multiply<kLefts>(m, n, k, a, b, format, launch, epilogue)) return;
        if (format == DType::bf16) return multiply_format<Bf16>(m, n, k, a, b, launch, epilogue);
        if constexpr (kLefts != Lefts::values)
            if (b.is_fixed && a.bits && k <= Fixed::kMaxDepth)
                return multiply_format<Fixed>(m, n, k, a, b, launch, epilogue);
    }
    multiply_format<Fma<T>>(m, n, k, a, b, launch, epilogue);
}

// out[i] = beta out[i] + the sum over c of partial[c][i], c in order
template <class T>
__global__ void __launch_bounds__(128) sum_partials_kernel(const T* partial, int64_t count, int64_t n, T beta, T* out) {
    const int64_t i = int64_t(blockIdx.x) * 128 + threadIdx.x;
    if (i >= n) return;
    T sum = beta == T(0) ? T(0) : beta * out[i];
    for (int64_t c = 0; c < count; ++c) sum += partial[c * n + i];
    out[i] = sum;
}

template <class T>
void sum_partials(const Launch& launch, const T* partial, int64_t count, int64_t n, T beta, T* out) {
    start(launch, (n + 127) / 128, 128, sum_partials_kernel<T>, partial, count, n, beta, out);
}

}  // namespace unsupfast::cuda
