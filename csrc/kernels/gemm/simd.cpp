// GEMM engine kernels: packing, the dense and the zero-skipping inner loops, and the plain product.
#include "kernels/gemm/block.h"
#include "kernels/gemm/by_rows.h"
#include "kernels/gemm/engine.h"

#include <utility>

namespace unsupfast {
namespace USF_ISA {
namespace {

// ---------------------------------------------------------------- inner kernels

template <class T, int MR>
void dense_tile(const void* a, const void* b, int64_t k, DType format, int64_t cols, T* out) {
    constexpr int L = kLanes<T>;
    const auto blocks = [&]<class W>(const W* left, const W* right, int64_t steps) {
        for (int64_t c = 0; c < cols; c += 2 * L)
            (cols - c <= L ? dense_block<MR, 1, T, W> : dense_block<MR, 2, T, W>)(steps, left, right + c, out + c, {});
    };
    if constexpr (sizeof(T) == 4)
        if (format == DType::bf16)
            return blocks(static_cast<const uint32_t*>(a), static_cast<const uint32_t*>(b), (k + 1) / 2);
    blocks(static_cast<const T*>(a), static_cast<const T*>(b), k);
}

template <class T, int... R>
constexpr auto dense_table(std::integer_sequence<int, R...>) {
    using F = void (*)(const void*, const void*, int64_t, DType, int64_t, T*);
    struct Table {
        F f[sizeof...(R)];
    };
    return Table{{dense_tile<T, R + 1>...}};
}

// acc + one list entry times its row of the panel. An entry that is only a k has the value 1; one of bf16 is
// a pair of neighbouring k.
template <class T, bool kBf16, class E>
inline Vec<T> add_entry(Vec<T> acc, const E& e, const void* b, int v) {
    if constexpr (std::is_integral_v<E>)
        return acc + load(static_cast<const T*>(b) + int64_t(e) * kPanel + v * kLanes<T>);
    else if constexpr (kBf16)
        return add_product(acc, bits<uint32_t>(e.value),
                           load(static_cast<const uint32_t*>(b) + int64_t(e.k) * kPanel + v * kLanes<T>));
    else
        return fma<T>(splat(e.value), load(static_cast<const T*>(b) + int64_t(e.k) * kPanel + v * kLanes<T>), acc);
}

// R rows side by side, so that their chains of additions hide each other's latency.
template <class T, bool kBf16, int R, class E>
void sparse_rows(const E* lists, const int32_t* begin, const int32_t* count, const void* b, T* out) {
    constexpr int NV = kPanel / kLanes<T>;
    Vec<T> acc[R][NV] = {};
    const E* list[R];
    int32_t common = count[0];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        list[r] = lists + begin[r];
        if (count[r] < common) common = count[r];
    }
    for (int32_t i = 0; i < common; ++i)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
            for (int v = 0; v < NV; ++v) acc[r][v] = add_entry<T, kBf16>(acc[r][v], list[r][i], b, v);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        for (int32_t i = common; i < count[r]; ++i)
#pragma GCC unroll 16
            for (int v = 0; v < NV; ++v) acc[r][v] = add_entry<T, kBf16>(acc[r][v], list[r][i], b, v);
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) store(out + r * kPanel + v * kLanes<T>, acc[r][v]);
    }
}

// Lists of positions alone are in 16 bits where k allows.
template <class F>
inline void by_index(int64_t k, F&& f) {
    k < 65536 ? f(uint16_t{}) : f(int32_t{});
}

// Calls f(first row, count as a constant) for runs of up to R rows that cover all, the shorter ones last.
template <int R, class F>
inline void for_row_runs(int rows, F&& f) {
    int r = 0;
    if constexpr (R >= 4) {
        for (; rows - r >= 7 || rows - r == 4; r += 4) f(r, std::integral_constant<int, 4>());
        for (; rows - r >= 3; r += 3) f(r, std::integral_constant<int, 3>());
    }
    if constexpr (R >= 2)
        for (; rows - r >= 2; r += 2) f(r, std::integral_constant<int, 2>());
    for (; r < rows; ++r) f(r, std::integral_constant<int, 1>());
}

template <class T, bool kBf16, class E>
void sparse_tile(const Slot* slot, int rows, const void* b, T* out) {
    const E* lists = reinterpret_cast<const E*>(slot + 1);
    for_row_runs<most(1, 8 * kLanes<T> / kPanel)>(rows, [&](int r, auto count) {
        sparse_rows<T, kBf16, count()>(lists, slot->begin + r, slot->count + r, b, out + r * kPanel);
    });
}

// The 16-bit columns of a panel's row, widened and added to sums of 32 bits: low halves are columns 0 to 15.
inline void widen_into(vi32& low, vi32& high, vi16 x) {
#if defined(__AVX512VNNI__)
    low = (vi32)_mm512_dpwssd_epi32((__m512i)low, (__m512i)x, _mm512_set1_epi32(1));
    high = (vi32)_mm512_dpwssd_epi32((__m512i)high, (__m512i)x, _mm512_set1_epi32(0x10000));
#else
    low += (bits<vi32>(x) << 16) >> 16;
    high += bits<vi32>(x) >> 16;
#endif
}

// Rows of bits times a panel of 16-bit fixed point: runs of kFixedRun list entries are added in 16 bits. The
// lists are padded to whole runs with the position k, where the panel has a row of zeros.
template <class K>
void fixed_tile(const Slot* slot, int rows, const char* panel, float* out) {
    constexpr int NV = 64 / USF_BYTES, L = kLanes<float>;
    const auto* body = reinterpret_cast<const int16_t*>(panel) + kFixedHeader * kPanel;
    const float* step = reinterpret_cast<const float*>(panel);
    const auto* sum = reinterpret_cast<const int32_t*>(panel) + kPanel;
    for (int r = 0; r < rows; ++r, out += kPanel) {
        const K* list = reinterpret_cast<const K*>(slot + 1) + slot->begin[r];
        vi32 low[NV] = {}, high[NV] = {};
        for (int32_t i = 0; i < slot->count[r]; i += kFixedRun, list += kFixedRun) {
            vi16 run[NV] = {};
#pragma GCC unroll 8
            for (int j = 0; j < kFixedRun; ++j)
#pragma GCC unroll 4
                for (int v = 0; v < NV; ++v) run[v] += load(body + int64_t(list[j]) * kPanel + v * kLanes<int16_t>);
#pragma GCC unroll 4
            for (int v = 0; v < NV; ++v) widen_into(low[v], high[v], run[v]);
        }
#pragma GCC unroll 8
        for (int v = 0; v < 2 * NV; ++v) {
            vi32 total = v < NV ? low[v] : high[v - NV];
            if (slot->kind == Packed::zeros) total = load(sum + v * L) - total;
            store(out + v * L, __builtin_convertvector(total, vf32) * load(step + v * L));
        }
    }
}

// ---------------------------------------------------------------- prologue

template <class T>
inline T scale_of(const Left& a, int64_t k) {
    return a.k_scale ? static_cast<const T*>(a.k_scale)[k] : T(1);
}

inline uint32_t bf16_bits(float x) { return to_bf16(splat(x))[0]; }

// Appends column k's value to a list whose columns come in increasing order.
template <class T>
inline void append(Entry<T>* list, int32_t& count, int64_t k, T value, bool bf16) {
    if constexpr (sizeof(T) == 4)
        if (bf16) {
            const uint32_t half = bf16_bits(value) << (k & 1 ? 16 : 0);
            if (count > 0 && list[count - 1].k == k / 2)
                list[count - 1].value = bits<float>(bits<uint32_t>(list[count - 1].value) | half);
            else
                list[count++] = {int32_t(k / 2), bits<float>(half)};
            return;
        }
    list[count++] = {int32_t(k), value};
}

// Names the kind of the finished lists; those of ones keep only the k.
template <class T>
void finish_lists(Slot* slot, int rows, int64_t k, bool bf16) {
    const Entry<T>* lists = reinterpret_cast<const Entry<T>*>(slot + 1);
    slot->kind = Packed::entries;
    if (bf16) return;
    for (int r = 0; r < rows; ++r)
        for (int32_t i = 0; i < slot->count[r]; ++i)
            if (lists[slot->begin[r] + i].value != T(1)) return;
    slot->kind = Packed::ones;
    by_index(k, [&]<class K>(K) {
        K* only_k = reinterpret_cast<K*>(slot + 1);  // in place: written behind what is read
        for (int r = 0; r < rows; ++r)
            for (int32_t i = 0; i < slot->count[r]; ++i) only_k[slot->begin[r] + i] = K(lists[slot->begin[r] + i].k);
    });
}

template <class T>
void pack_csr(const Left& a, int64_t m0, int rows, int64_t k, bool bf16, Slot* slot) {
    Entry<T>* lists = reinterpret_cast<Entry<T>*>(slot + 1);
    for (int r = 0; r < rows; ++r) {
        slot->count[r] = 0;
        slot->begin[r] = int32_t(a.indptr[m0 + r] - a.indptr[m0]);
        for (int64_t i = a.indptr[m0 + r]; i < a.indptr[m0 + r + 1]; ++i)
            append(lists + slot->begin[r], slot->count[r], a.indices[i],
                   static_cast<const T*>(a.data)[i] * scale_of<T>(a, a.indices[i]), bf16);
    }
    finish_lists<T>(slot, rows, k, bf16);
}

// Non-zeros of an outer x inner block, vector by vector where the inner stride is 1.
template <class T>
int64_t count_nonzeros(const T* src, int64_t outer, int64_t outer_stride, int64_t inner, int64_t inner_stride) {
    int64_t count = 0;
    for (int64_t o = 0; o < outer; ++o) {
        const T* p = src + o * outer_stride;
        __builtin_prefetch(p + 12 * outer_stride);  // rows far apart are beyond the hardware's own guesses
        if (inner_stride == 1)
            for (int64_t i = 0; i < inner; i += kLanes<T>)
                count += __builtin_popcount(nonzero_bits<T>(load_n(p + i, least(inner - i, kLanes<T>))));
        else
            for (int64_t i = 0; i < inner; ++i) count += p[i * inner_stride] != 0;
    }
    return count;
}

template <class T>
void pack_sparse(const T* src, const Left& a, int rows, int64_t k, bool bf16, Slot* slot) {
    constexpr int L = kLanes<T>;
    Entry<T>* lists = reinterpret_cast<Entry<T>*>(slot + 1);
    const auto push = [&](int r, int64_t i, T value) {
        append(lists + slot->begin[r], slot->count[r], i, value * scale_of<T>(a, i), bf16);
    };
    for (int r = 0; r < rows; ++r) {
        slot->count[r] = 0;
        slot->begin[r] = int32_t(r * k);
    }
    if (a.row_stride == 1) {
        for (int64_t i = 0; i < k; ++i) {
            const T* p = src + i * a.col_stride;
            for (uint32_t m = nonzero_bits<T>(load_n(p, rows)); m; m &= m - 1)
                push(__builtin_ctz(m), i, p[__builtin_ctz(m)]);
        }
    } else if (a.col_stride == 1) {
        for (int r = 0; r < rows; ++r) {
            const T* p = src + r * a.row_stride;
            for (int64_t i = 0; i < k; i += L)
                for (uint32_t m = nonzero_bits<T>(load_n(p + i, least(k - i, L))); m; m &= m - 1)
                    push(r, i + __builtin_ctz(m), p[i + __builtin_ctz(m)]);
        }
    } else {
        for (int r = 0; r < rows; ++r)
            for (int64_t i = 0; i < k; ++i)
                if (const T x = src[r * a.row_stride + i * a.col_stride]; x != 0) push(r, i, x);
    }
    finish_lists<T>(slot, rows, k, bf16);
}

// Fills v[j] (j < n) with the rows of column k0 + j, scaled; lanes beyond `rows` are not used.
template <class T>
void load_columns(const T* src, const Left& a, int rows, int64_t k0, int64_t n, Vec<T>* v) {
    constexpr int L = kLanes<T>;
    if (a.row_stride == 1) {
        for (int64_t j = 0; j < n; ++j) v[j] = load_n(src + (k0 + j) * a.col_stride, rows) * scale_of<T>(a, k0 + j);
        for (int64_t j = n; j < L; ++j) v[j] = Vec<T>{};
        return;
    }
    const Vec<T> scale = a.k_scale ? load_n(static_cast<const T*>(a.k_scale) + k0, n) : splat(T(1));
    for (int r = 0; r < L; ++r) v[r] = Vec<T>{};
    for (int r = 0; r < rows; ++r) {
        const T* p = src + r * a.row_stride + k0 * a.col_stride;
        if (a.col_stride == 1)
            v[r] = load_n(p, n) * scale;
        else
            for (int64_t j = 0; j < n; ++j) v[r][j] = p[j * a.col_stride] * scale[j];
    }
    transpose<T>(v);
}

// columns(k0, n, v) fills v[j] (j < n) with the rows of column k0 + j; lanes beyond `rows` are not used.
template <class T, class Columns>
void pack_dense(int rows, int64_t k, bool bf16, Slot* slot, const Columns& columns) {
    constexpr int L = kLanes<T>;
    slot->kind = Packed::dense;
    Vec<T> v[L];
    if constexpr (sizeof(T) == 4)
        if (bf16) {
            uint32_t* dst = reinterpret_cast<uint32_t*>(slot + 1);
            for (int64_t k0 = 0; k0 < k; k0 += L) {
                columns(k0, least(k - k0, L), v);
                for (int64_t j = 0; j < L && k0 + j < k; j += 2, dst += rows)
                    store(dst, to_bf16(v[j]) | to_bf16(v[j + 1]) << 16);
            }
            return;
        }
    T* dst = reinterpret_cast<T*>(slot + 1);
    for (int64_t k0 = 0; k0 < k; k0 += L) {
        const int64_t n = least(k - k0, L);
        columns(k0, n, v);
        // each store spills past its row; the next one overwrites the spill, the slot has room for the last
        for (int64_t j = 0; j < n; ++j, dst += rows) store(dst, v[j]);
    }
}

// Rows of bits: lists of the ones (or zeros, where those are fewer and the format knows what to do with them),
// or the values 0 and 1 where there are too many of both.
template <class T>
void pack_bit_rows(const Left& a, int64_t m0, int rows, int64_t k, DType format, Slot* slot) {
    const int64_t words = bit_words(k);
    const auto row = [&](int r) { return a.bits + (m0 + r) * a.row_stride; };
    int64_t ones = 0;
    for (int r = 0; r < rows; ++r)
        for (int64_t w = 0; w < words; ++w) ones += __builtin_popcount(row(r)[w]);
    const bool bf16 = format == DType::bf16, fixed = format == DType::i16;
    const double share = bf16 ? kSparseShareBf16 : kSparseShare;
    if (!fixed && double(ones) >= share * double(rows) * double(k)) {
        constexpr int L = kLanes<T>;
        static_assert(32 % L == 0);
        pack_dense<T>(rows, k, bf16, slot, [&](int64_t k0, int64_t, Vec<T>* v) {
            for (int r = 0; r < L; ++r) v[r] = r < rows ? where_bits(row(r)[k0 / 32] >> k0 % 32, T(1)) : Vec<T>{};
            transpose<T>(v);
        });
        return;
    }
    if (bf16) {
        Entry<T>* lists = reinterpret_cast<Entry<T>*>(slot + 1);
        for (int r = 0; r < rows; ++r) {
            slot->count[r] = 0;
            slot->begin[r] = int32_t(r * k);
            for (int64_t w = 0; w < words; ++w)
                for (uint32_t m = row(r)[w]; m; m &= m - 1)
                    append(lists + slot->begin[r], slot->count[r], w * 32 + __builtin_ctz(m), T(1), true);
        }
        slot->kind = Packed::entries;
        return;
    }
    const bool zeros = fixed && 2 * ones > rows * k;
    slot->kind = zeros ? Packed::zeros : Packed::ones;
    by_index(k, [&]<class K>(K) {
        K *lists = reinterpret_cast<K*>(slot + 1), *end = lists;
        for (int r = 0; r < rows; ++r) {
            slot->begin[r] = int32_t(end - lists);
            for (int64_t w = 0; w < words; ++w) {
                uint32_t m = row(r)[w];
                if (zeros) m = ~m & (k - w * 32 < 32 ? (1u << (k - w * 32)) - 1 : ~0u);
                end = append_positions(end, m, int32_t(w * 32));
            }
            while (fixed && (end - lists) % kFixedRun) *end++ = K(k);
            slot->count[r] = int32_t(end - lists) - slot->begin[r];
        }
    });
}

// ---------------------------------------------------------------- patches

// Lists made from values cost more than they save where they are multiplied with a panel or two, as filters mostly are:
// dense won at 121 taps, 40 filters and images with 19 % non-zeros. The share itself is an estimate of costs.
constexpr double kPatchShare = 0.10;

// to[at .. at + n) = from[first .. first + n), in bits; what follows there is 0 so far.
inline void copy_bits(const uint32_t* from, int64_t first, int64_t n, uint32_t* to, int64_t at) {
    from += first / 32;
    to += at / 32;
    const int from_shift = int(first % 32), to_shift = int(at % 32);
    if (from_shift == 0 && n > 64) {
        // whole words, but for the last
        const int64_t words = n / 32;
        if (to_shift == 0) {
            std::memcpy(to, from, size_t(words) * 4);
        } else {
            to[0] |= from[0] << to_shift;
            for (int64_t j = 1; j < words; ++j) to[j] = from[j] << to_shift | from[j - 1] >> (32 - to_shift);
            to[words] = from[words - 1] >> (32 - to_shift);
        }
        return n % 32 ? copy_bits(from, words * 32, n % 32, to, to_shift + words * 32) : void();
    }
    for (int64_t done = 0; done < n; done += 32) {
        const int64_t count = least(n - done, 32), bit = first % 32 + done;
        uint64_t run = from[bit / 32];
        if (from_shift + count > 32) run |= uint64_t(from[bit / 32 + 1]) << 32;
        run = (run >> from_shift & ((uint64_t(1) << count) - 1)) << to_shift;
        to[done / 32] |= uint32_t(run);
        if (run >> 32) to[done / 32 + 1] |= uint32_t(run >> 32);
    }
}

// `rows` patches of bits from (map, y, x) on, neighbours of one line, where lines are short and so are a patch's parts
// of them: a line is read once for all.
inline void gather_short_runs(const Left& a, int64_t map, int64_t y, int64_t x, int64_t rows, int64_t words,
                              uint32_t* to) {
    const Patches& p = a.patches;
    const int run = p.cols * p.channels;
    const uint64_t mask = (uint64_t(1) << run) - 1;
    for (int64_t r = 0; r < p.rows; ++r) {
        const int64_t row = y * p.stride_y - p.top + r, tap = r * run;
        if (row < 0 || row >= p.height) continue;
        const uint32_t* from = a.bits + (map * p.height + row) * a.row_stride;
        uint64_t line = from[0];
        if (p.width * p.channels > 32) line |= uint64_t(from[1]) << 32;
        line <<= p.left * p.channels;
        for (int64_t i = 0; i < rows; ++i) {
            const uint64_t bits = (line >> ((x + i) * p.stride_x * p.channels) & mask) << tap % 32;
            uint32_t* q = to + i * words + tap / 32;
            q[0] |= uint32_t(bits);
            if (tap % 32 + run > 32) q[1] |= uint32_t(bits >> 32);
        }
    }
}
inline bool has_short_runs(const Patches& p) {
    return p.gap == 1 && p.left >= 0 && p.cols * p.channels <= 32 && (p.width + p.left) * p.channels <= 64 &&
           (p.out_width - 1) * p.stride_x * p.channels < 64;
}

// Calls run(row, element, tap, n) for the runs of neighbours that row i of an operand of patches is made of.
template <class F>
inline void for_patch_runs(const Patches& p, int64_t map, int64_t y, int64_t x, const F& run) {
    const int64_t row0 = y * p.stride_y - p.top, col0 = x * p.stride_x - p.left, C = p.channels;
    for (int64_t r = 0; r < p.rows; ++r) {
        const int64_t row = row0 + r;
        if (row < 0 || row % p.gap || row / p.gap >= p.height) continue;
        const int64_t line = map * p.height + row / p.gap;
        if (p.gap == 1) {
            const int64_t from = most(0, col0), end = least(p.width, col0 + p.cols);
            if (end > from) run(line, from * C, (r * p.cols + from - col0) * C, (end - from) * C);
            continue;
        }
        for (int64_t s = 0; s < p.cols; ++s) {
            const int64_t column = col0 + s;
            if (column >= 0 && column % p.gap == 0 && column / p.gap < p.width)
                run(line, column / p.gap * C, (r * p.cols + s) * C, C);
        }
    }
}

// ---------------------------------------------------------------- operations

template <class T>
void column_sum(const ColumnSum& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T* weight = static_cast<const T*>(p.weight);
    T* out = static_cast<T*>(p.out);
    if (p.x.indptr) {
        for (int64_t j = 0; j < p.cols; ++j) out[j] = p.beta == 0 ? T(0) : T(p.beta) * out[j];
        for (int64_t i = 0; i < p.rows; ++i)
            for (int64_t e = p.x.indptr[i]; e < p.x.indptr[i + 1]; ++e)
                out[p.x.indices[e]] += (weight ? weight[i] : T(1)) * static_cast<const T*>(p.x.data)[e];
        return;
    }
    parallel_for(launch, (p.cols + L - 1) / L, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin * L; c < least(end * L, p.cols); c += L) {
            const int64_t n = least(p.cols - c, L);
            Vec<T> acc = p.beta == 0 ? Vec<T>{} : load_n(out + c, n) * T(p.beta);
            if (p.x.bits) {
                const uint32_t* x = p.x.bits + c / 32;
                for (int64_t i = 0; i < p.rows; ++i, x += p.x.row_stride)
                    acc += where_bits(*x >> c % 32, weight ? weight[i] : T(1));
                store_n(out + c, acc, n);
                continue;
            }
            const T* x = static_cast<const T*>(p.x.data) + c;
            for (int64_t i = 0; i < p.rows; ++i, x += p.x.row_stride) acc += load_n(x, n) * (weight ? weight[i] : T(1));
            store_n(out + c, acc, n);
        }
    });
}

template <class T>
void gemm(const Gemm& p, const Launch& launch) {
    T* c = static_cast<T*>(p.c);
    const T alpha = T(p.alpha), beta = T(p.beta);
    const auto finish = [&](int64_t m0, int rows, int64_t n0, int64_t cols, const T* tile) {
        for (int r = 0; r < rows; ++r)
            for (int64_t j = 0; j < cols; j += kLanes<T>) {
                T* q = c + (m0 + r) * p.ldc + n0 + j;
                const int64_t n = least(cols - j, kLanes<T>);
                Vec<T> y = load(tile + r * kPanel + j) * alpha;
                if (beta != 0) y += load_n(q, n) * beta;
                store_n(q, y, n);
            }
    };
    multiply_best<T>(p.m, p.n, p.k, p.a, p.b, p.format, launch, finish);
}

}  // namespace

template <class T>
void tile_product(const Slot* slot, int rows, int64_t k, const void* panel, DType format, int64_t cols, T* out) {
    static constexpr auto dense = dense_table<T>(std::make_integer_sequence<int, kTileRows<T>>());
    if constexpr (sizeof(T) == 4)
        if (format == DType::i16)
            return by_index(k, [&]<class K>(K) { fixed_tile<K>(slot, rows, static_cast<const char*>(panel), out); });
    switch (slot->kind) {
        case Packed::dense:
            return dense.f[rows - 1](slot + 1, panel, k, format, cols, out);
        case Packed::ones:
            return by_index(k, [&]<class K>(K) { sparse_tile<T, false, K>(slot, rows, panel, out); });
        case Packed::entries:
        case Packed::zeros:  // i16 only
            break;
    }
    if (format == DType::bf16)
        sparse_tile<T, sizeof(T) == 4, Entry<T>>(slot, rows, panel, out);
    else
        sparse_tile<T, false, Entry<T>>(slot, rows, panel, out);
}

template <class T>
Left gather_patches(const Left& a, int64_t i0, int64_t rows, int64_t k, void* to) {
    constexpr int L = kLanes<T>;
    const Patches& p = a.patches;
    const int64_t words = bit_words(k);
    std::memset(to, 0, size_t(rows) * (a.bits ? size_t(words) * 4 : size_t(k) * sizeof(T)));
    int64_t x = i0 % p.out_width, y = i0 / p.out_width % p.out_height, map = i0 / p.out_width / p.out_height;
    const bool short_runs = a.bits && has_short_runs(p);
    for (int64_t i = 0; i < rows; ++i) {
        if (short_runs) {
            const int64_t count = least(rows - i, p.out_width - x);
            gather_short_runs(a, map, y, x, count, words, static_cast<uint32_t*>(to) + i * words);
            i += count - 1;
            x += count - 1;
        } else if (a.bits) {
            uint32_t* row = static_cast<uint32_t*>(to) + i * words;
            for_patch_runs(p, map, y, x, [&](int64_t line, int64_t element, int64_t tap, int64_t n) {
                copy_bits(a.bits + line * a.row_stride, element, n, row, tap);
            });
        } else {
            T* row = static_cast<T*>(to) + i * k;
            for_patch_runs(p, map, y, x, [&](int64_t line, int64_t element, int64_t tap, int64_t n) {
                const T* from = static_cast<const T*>(a.data) + line * a.row_stride + element;
                for (int64_t j = 0; j < n; j += L) store_n(row + tap + j, load_n(from + j, n - j), n - j);
            });
        }
        if (++x == p.out_width) {
            x = 0;
            if (++y == p.out_height) y = 0, ++map;
        }
    }
    return a.bits ? Left{nullptr, words, 1, nullptr, nullptr, nullptr, static_cast<uint32_t*>(to)}
                  : Left{to, k, 1, nullptr, nullptr, a.k_scale};
}

// Packs rows of values or bits; those of values as lists where their share of non-zeros is below `share`.
template <class T>
void pack_rows(const Left& a, int64_t m0, int rows, int64_t k, DType format, double share, Slot* slot) {
    const bool bf16 = format == DType::bf16;
    if (a.bits) return pack_bit_rows<T>(a, m0, rows, k, format, slot);
    const T* src = static_cast<const T*>(a.data) + m0 * a.row_stride;
    const int64_t nonzeros = a.row_stride == 1 ? count_nonzeros(src, k, a.col_stride, rows, a.row_stride)
                                               : count_nonzeros(src, rows, a.row_stride, k, a.col_stride);
    if (double(nonzeros) < share * double(rows) * double(k))
        pack_sparse(src, a, rows, k, bf16, slot);
    else
        pack_dense<T>(rows, k, bf16, slot,
                      [&](int64_t k0, int64_t n, Vec<T>* v) { load_columns<T>(src, a, rows, k0, n, v); });
}

template <class T>
void pack_tile(const Left& a, int64_t m0, int rows, int64_t k, DType format, Slot* slot) {
    if (a.patches.height) {
        char* room = reinterpret_cast<char*>(slot) + packed_bytes<T>(a.bits != nullptr, k, format);
        return pack_rows<T>(gather_patches<T>(a, m0, rows, k, room), 0, rows, k, format, kPatchShare, slot);
    }
    if (a.indptr) return pack_csr<T>(a, m0, rows, k, format == DType::bf16, slot);
    pack_rows<T>(a, m0, rows, k, format, format == DType::bf16 ? kSparseShareBf16 : kSparseShare, slot);
}

template void tile_product(const Slot*, int, int64_t, const void*, DType, int64_t, float*);
template void tile_product(const Slot*, int, int64_t, const void*, DType, int64_t, double*);
template Left gather_patches<float>(const Left&, int64_t, int64_t, int64_t, void*);
template Left gather_patches<double>(const Left&, int64_t, int64_t, int64_t, void*);
template void pack_tile<float>(const Left&, int64_t, int, int64_t, DType, Slot*);
template void pack_tile<double>(const Left&, int64_t, int, int64_t, DType, Slot*);

}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Gemm, gemm)
USF_KERNEL_BY_DTYPE(ColumnSum, column_sum)

}  // namespace unsupfast
