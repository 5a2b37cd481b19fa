// What convolutions need beside products: on the engine's tiles, a map or a few at a time so that what lies between
// the product and its end stays in the caches.
#include "kernels/conv/op.h"

#include "kernels/gemm/by_rows.h"
#include "kernels/layout/op.h"
#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

enum ConvScratch : int {
    kFieldScratch = 4,
    kUniformScratch = 5,
    kGatherScratch = 6,
    kBitScratch = 7,
    kChunkScratch = 8
};

// Calls f(first row, rows) for the even tiles of `rows` rows.
template <class T, class F>
inline void for_tiles(int64_t rows, const F& f) {
    const int64_t tiles = (rows + kTileRows<T> - 1) / kTileRows<T>;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = rows * t / tiles;
        f(first, int(rows * (t + 1) / tiles - first));
    }
}

template <class T>
void turn_filters(const TurnFilters& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T* src = static_cast<const T*>(p.src);
    const int64_t depth = p.height * p.cols * p.filters, n = p.block * p.channels, line = p.width * p.channels;
    T* to = static_cast<T*>(p.dst);
    if (p.format != p.dtype)
        to = static_cast<T*>(launch.scratch(kChunkScratch, size_t(panel_elements(p.dtype, depth, n)) * sizeof(T)));
    parallel_for(launch, panels(n) * p.height * p.cols, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t x = item % p.cols, r = item / p.cols % p.height, panel = item / p.cols / p.height;
            // column j of the panel is element j - shift of a line of the filter
            const int64_t shift = (x - p.offset) * p.channels - panel * kPanel;
            const int64_t from = most(0, shift), until = least(least(kPanel, n - panel * kPanel), shift + line);
            const T* filter = src + (p.height - 1 - r) * line;
            T* row = to + (panel * depth + (r * p.cols + x) * p.filters) * kPanel;
            for (int64_t k = 0; k < p.filters; ++k, row += kPanel, filter += p.height * line) {
                for (int64_t j = 0; j < kPanel; j += L) store(row + j, Vec<T>{});
                for (int64_t j = from; j < until; j += L)
                    store_n(row + j, load_n(filter + j - shift, least(L, until - j)), least(L, until - j));
            }
        }
    });
    if (p.format != p.dtype) USF_KERNEL_NAME(USF_ISA, TurnPanels)
    (TurnPanels{depth, n, to, nullptr, p.dst, nullptr, p.dtype, p.format}, launch);
}

// ---------------------------------------------------------------- the half-step

// The uniforms of `units` units of one row.
inline void uniform_row(const Draw& draw, uint32_t row, int64_t units, float* u) {
    for (int64_t j = 0; j < units; j += kPanel)
        uniform_tile(draw.seed, step_of(draw), draw.stream, row, 1, uint32_t(j),
                     reinterpret_cast<float (*)[kPanel]>(u + j));
}

// log(1 + sum of exp(factor x)) over a block; `field` is its first, `at` the offsets of its units.
template <class T>
inline Vec<T> block_log_partition(const T* field, const int32_t* at, int64_t units, T factor) {
    Vec<T> top{};
    for (int64_t q = 0; q < units; ++q) top = max<T>(top, load(field + at[q]) * factor);
    Vec<T> sum = exp(-top);
    for (int64_t q = 0; q < units; ++q) sum += exp(load(field + at[q]) * factor - top);
    return top + log(sum);
}

// A map's blocks, given its fields (positions x ld, without bias) and uniforms.
template <class T>
struct Blocks {
    const PoolingStep& p;
    int64_t map, ld;
    T* field;
    const float* u;
    const int32_t* at;  // offsets in `field` of a block's units

    // The vector of filters from j on, n of them, of the block at (y, x). Adds to the log partition.
    void operator()(int64_t y, int64_t x, int64_t j, int64_t n, uint32_t* bits, Vec<T>& terms) const {
        const int64_t C = p.pool, units = C * C, across = p.out_width / C, place = y / C * across + x / C;
        const int64_t words = bit_words(p.out_width * p.n);
        T* f = field + (y * p.out_width + x) * ld + j;
        const Vec<T> bias = load_n(static_cast<const T*>(p.bias) + j, n);
        Vec<T> top{};
        for (int64_t q = 0; q < units; ++q) {
            const Vec<T> v = load(f + at[q]) * T(p.scale) + bias;
            store(f + at[q], v);
            top = max<T>(top, v);
        }
        if (p.log_partition && p.ratio >= 0) terms -= first_n<T>(block_log_partition(f, at, units, T(p.ratio)), n);
        const Vec<T> off = exp(-top);
        Vec<T> on{};
        for (int64_t q = 0; q < units; ++q) {
            const Vec<T> e = exp(load(f + at[q]) - top);
            store(f + at[q], e);
            on += e;
        }
        const Vec<T> all = off + on;
        if (p.log_partition) terms += first_n<T>(top + log(all), n);
        if (p.mean || p.pooled) {
            const Vec<T> share = T(1) / all;
            if (p.pooled)
                store_n(static_cast<T*>(p.pooled) + ((map * (p.out_height / C) * across) + place) * p.n + j, on * share,
                        n);
            for (int64_t q = 0; p.mean && q < units; ++q) {
                const int64_t position = (map * p.out_height + y + q / C) * p.out_width + x + q % C;
                store_n(static_cast<T*>(p.mean) + position * p.n + j, load(f + at[q]) * share, n);
            }
        }
        if (!p.bits) return;
        const Vec<T> wanted = from_floats<T>(u + place * p.n + j) * all;
        Vec<T> passed{};
        uint32_t before = 0;
        for (int64_t q = 0; q < units; ++q) {
            passed += load(f + at[q]);
            const Vec<T> one = wanted < passed ? splat(T(1)) : Vec<T>{};
            const uint32_t reached = nonzero_bits<T>(first_n<T>(one, n));
            const int64_t bit = (x + q % C) * p.n + j;
            const uint64_t run = uint64_t(reached & ~before) << bit % 32;
            uint32_t* to = bits + (y + q / C) * words + bit / 32;
            to[0] |= uint32_t(run);
            if (run >> 32) to[1] |= uint32_t(run >> 32);
            before = reached;
        }
    }
};

template <class T>
void pooling_step(const PoolingStep& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    if (p.m == 0 || p.n == 0) return;
    const int64_t positions = p.out_height * p.out_width, C = p.pool, ld = panels(p.n) * kPanel;
    const int64_t units = positions / (C * C) * p.n, words = bit_words(p.out_width * p.n);
    const size_t panel_bytes = size_t(padded_depth(p.format, p.k) * kPanel * element_size(p.format));
    const auto [stride, ignored] = slots_for<T>(p.states, p.m, p.k, p.format, 1);
    parallel_for(launch, p.m / positions, [&](int64_t begin, int64_t end) {
        Slot* slot = static_cast<Slot*>(launch.scratch(kLeftScratch, stride));
        T* field = static_cast<T*>(launch.scratch(kFieldScratch, size_t(positions * ld) * sizeof(T)));
        // uniforms, and behind them the offsets
        float* u =
            static_cast<float*>(launch.scratch(kUniformScratch, size_t(units + 2 * kPanel + C * C) * sizeof(float)));
        int32_t* at = reinterpret_cast<int32_t*>(u + panels(units) * kPanel + L);
        for (int64_t q = 0; q < C * C; ++q) at[q] = int32_t((q / C * p.out_width + q % C) * ld);
        for (int64_t map = begin; map < end; ++map) {
            for_tiles<T>(positions, [&](int64_t first, int rows) {
                pack_tile<T>(p.states, map * positions + first, rows, p.k, p.format, slot);
                for (int64_t panel = 0; panel < panels(p.n); ++panel) {
                    alignas(64) T tile[kTileRows<T> * kPanel];
                    tile_product<T>(slot, rows, p.k, static_cast<const char*>(p.weights) + size_t(panel) * panel_bytes,
                                    p.format, least(kPanel, p.n - panel * kPanel), tile);
                    for (int r = 0; r < rows; ++r)
                        for (int64_t j = 0; j < kPanel; j += L)
                            store(field + (first + r) * ld + panel * kPanel + j, load(tile + r * kPanel + j));
                }
            });
            uint32_t* bits = p.bits ? p.bits + map * p.out_height * words : nullptr;
            if (bits) {
                std::memset(bits, 0, size_t(p.out_height * words) * 4);
                uniform_row(p.draw, p.draw.first_row + uint32_t(map), units, u);
            }
            const Blocks<T> blocks{p, map, ld, field, u, at};
            Vec<T> terms{};
            for (int64_t y = 0; y < p.out_height; y += C)
                for (int64_t x = 0; x < p.out_width; x += C)
                    for (int64_t j = 0; j < p.n; j += L) blocks(y, x, j, least(L, p.n - j), bits, terms);
            if (p.log_partition) static_cast<T*>(p.log_partition)[map] += sum<T>(terms);
        }
    });
}

// ---------------------------------------------------------------- the gradient

// Positions are taken in chunks that stay in the second-level cache with their patches.
constexpr int64_t kLeastPositions = 64, kChunkPositions = 1024, kChunkValues = 64 << 10;
// Parts of the sum that threads take: they depend on the sizes alone, as the order of the sum must.
constexpr int64_t kParts = 16, kPartValues = 1 << 22;

// Rows [i0, i0 + rows) of hidden as a right operand, and added to the sums of its columns.
template <class T>
void pack_hidden(const FilterGradient& p, int64_t i0, int64_t rows, void* to, T* sums) {
    constexpr int L = kLanes<T>;
    const T* hidden = static_cast<const T*>(p.hidden) + i0 * p.n;
    const int64_t depth = padded_depth(p.format, rows);
    for (int64_t j = 0; j < panels(p.n) * kPanel; j += L) {
        const int64_t n = p.n - j, panel = j / kPanel * depth * kPanel;
        Vec<T> sum = load(sums + j);
        const auto fetch = [&](int64_t i) {
            const Vec<T> h = n > 0 ? load_n(hidden + i * p.n + j, n) : Vec<T>{};
            sum += h;
            return h;
        };
        if (p.format == DType::bf16) {
            if constexpr (sizeof(T) == 4)
                for (int64_t i = 0; i < rows; i += 2) {
                    const vu32 low = to_bf16(fetch(i)), high = i + 1 < rows ? to_bf16(fetch(i + 1)) : vu32{};
                    store(static_cast<uint32_t*>(to) + panel / 2 + i / 2 * kPanel + j % kPanel, low | high << 16);
                }
        } else {
            for (int64_t i = 0; i < rows; ++i) store(static_cast<T*>(to) + panel + i * kPanel + j % kPanel, fetch(i));
        }
        store(sums + j, sum);
    }
}

template <class T>
void filter_gradient(const FilterGradient& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    if (p.n == 0) return;
    const int64_t width = panels(p.n) * kPanel,
                  size = (p.k + 1) * width;  // of a part: panels, and the sums behind them
    const int64_t chunk =
        most(1, least(p.m, most(kLeastPositions, least(kChunkPositions, kChunkValues / most(1, p.k)))));
    const int64_t chunks = (p.m + chunk - 1) / chunk;
    const int64_t parts = most(1, least(least(kParts, chunks), kPartValues / most(1, size)));
    T* partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(parts * size) * sizeof(T)));
    const size_t panel_bytes = size_t(padded_depth(p.format, chunk) * kPanel * element_size(p.format));
    const size_t words = size_t(bit_words(chunk));
    Left sized{};
    sized.bits = p.patches.bits;
    const auto [stride, ignored] = slots_for<T>(sized, p.k, chunk, p.format, 1);

    parallel_for(launch, parts, [&](int64_t begin, int64_t end) {
        Slot* slot = static_cast<Slot*>(launch.scratch(kLeftScratch, stride));
        char* right = static_cast<char*>(launch.scratch(kChunkScratch, panel_bytes * size_t(panels(p.n))));
        void* gathered = launch.scratch(kGatherScratch, size_t(chunk * p.k) * sizeof(T) + USF_BYTES);
        auto* turned = static_cast<uint32_t*>(launch.scratch(kBitScratch, (size_t(p.k) + 1) * words * 4));
        for (int64_t part = begin; part < end; ++part) {
            T *own = partial + part * size, *sums = own + p.k * width;
            std::memset(own, 0, size_t(size) * sizeof(T));
            for (int64_t c = chunks * part / parts; c < chunks * (part + 1) / parts; ++c) {
                const int64_t i0 = p.m * c / chunks, rows = p.m * (c + 1) / chunks - i0;
                pack_hidden<T>(p, i0, rows, right, sums);
                Left taps = gather_patches<T>(p.patches, i0, rows, p.k, gathered);
                if (taps.bits) {
                    USF_KERNEL_NAME(USF_ISA, TurnBits)(TurnBits{rows, p.k, taps.bits, turned}, launch);
                    taps = Left{nullptr, bit_words(rows), 1, nullptr, nullptr, nullptr, turned};
                } else {
                    taps.row_stride = 1;
                    taps.col_stride = p.k;
                }
                for_tiles<T>(p.k, [&](int64_t tap, int count) {
                    pack_tile<T>(taps, tap, count, rows, p.format, slot);
                    for (int64_t panel = 0; panel < panels(p.n); ++panel) {
                        alignas(64) T tile[kTileRows<T> * kPanel] = {};
                        const size_t bytes = size_t(padded_depth(p.format, rows) * kPanel * element_size(p.format));
                        tile_product<T>(slot, count, rows, right + size_t(panel) * bytes, p.format,
                                        least(kPanel, p.n - panel * kPanel), tile);
                        T* to = own + (panel * p.k + tap) * kPanel;
                        for (int64_t i = 0; i < count * kPanel; i += L) store(to + i, load(to + i) + load(tile + i));
                    }
                });
            }
        }
    });
    // the parts in order, and turned: few numbers beside the products
    T *out = static_cast<T*>(p.out), *sums = static_cast<T*>(p.sums);
    const T scale = T(p.scale), beta = T(p.beta);
    parallel_for(launch, p.k + 1, [&](int64_t begin, int64_t end) {
        for (int64_t tap = begin; tap < end; ++tap)
            for (int64_t j = 0; j < p.n; j += L) {
                const T* from =
                    partial + (tap < p.k ? (j / kPanel * p.k + tap) * kPanel + j % kPanel : p.k * width + j);
                Vec<T> sum = load(from);
                for (int64_t part = 1; part < parts; ++part) sum += load(from + part * size);
                sum *= scale;
                for (int64_t c = 0; c < least(L, p.n - j); ++c) {
                    if (tap == p.k && !sums) continue;
                    T& to = tap < p.k ? out[(j + c) * p.k + tap] : sums[j + c];
                    to = sum[c] + (beta == T(0) ? T(0) : beta * to);
                }
            }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(TurnFilters, turn_filters)
USF_KERNEL_BY_DTYPE(PoolingStep, pooling_step)
USF_KERNEL_BY_DTYPE(FilterGradient, filter_gradient)

}  // namespace unsupfast
