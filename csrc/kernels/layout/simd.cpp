// Panels of weights in every format, their transposes, and matrices of bits.
#include "kernels/layout/op.h"

#include "simd/vec.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

// A panel being rounded to 16-bit fixed point: the step of a column is its largest magnitude / kFixedMax.
class FixedPanel {
    static constexpr int NV = kPanel / kLanes<float>;

  public:
    // peak[c]: the largest magnitude of column c
    FixedPanel(char* panel, int64_t k, const float* peak)
        : body_(reinterpret_cast<int32_t*>(panel) + kFixedHeader * kPanel / 2) {
        float* step = reinterpret_cast<float*>(panel);
        sums_ = reinterpret_cast<int32_t*>(panel) + kPanel;
        for (int64_t c = 0; c < kPanel; ++c) {
            step[c] = peak[c] / kFixedMax;
            scale_[c] = peak[c] > 0 ? kFixedMax / peak[c] : 0.f;
        }
        for (int v = 0; v < NV / 2; ++v) store(body_ + k * kPanel / 2 + v * kLanes<float>, vi32{});
    }
    // column(v) is the v-th vector of row k's columns
    template <class Columns>
    void row(int64_t k, const Columns& column) {
        vi32 q[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            q[v] = nearest(as_rounded(column(v) * load(scale_ + v * kLanes<float>)));
            total_[v] += q[v];
        }
#pragma GCC unroll 4
        for (int v = 0; v < NV / 2; ++v)
            store(body_ + k * kPanel / 2 + v * kLanes<float>, (q[v] & 0xffff) | (q[v + NV / 2] << 16));
    }
    void finish() const {
        for (int v = 0; v < NV; ++v) store(sums_ + v * kLanes<float>, total_[v]);
    }

  private:
    int32_t *body_, *sums_;
    alignas(64) float scale_[kPanel];
    vi32 total_[NV] = {};
};

inline vf32 magnitude(vf32 x) { return bits<vf32>(bits<vu32>(x) & 0x7fffffffu); }

// fetch(i, c) is the vector of row i's columns from c
template <class Fetch>
void fix_panel(int64_t k, char* panel, const Fetch& fetch) {
    constexpr int L = kLanes<float>, NV = kPanel / L;
    vf32 peak[NV] = {};
    for (int64_t i = 0; i < k; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) peak[v] = max<float>(magnitude(fetch(i, v * L)), peak[v]);
    alignas(64) float peaks[kPanel];
    for (int v = 0; v < NV; ++v) store(peaks + v * L, peak[v]);
    FixedPanel fixed(panel, k, peaks);
    for (int64_t i = 0; i < k; ++i) fixed.row(i, [&](int v) { return fetch(i, v * L); });
    fixed.finish();
}

void turn_fixed(const TurnPanels& p, const Launch& launch) {
    constexpr int L = kLanes<float>, NV = kPanel / L;
    const float* src = static_cast<const float*>(p.src);
    const int64_t row_blocks = panels(p.k), col_blocks = panels(p.n);
    const auto bytes = [](int64_t k) { return padded_depth(DType::i16, k) * kPanel * 2; };
    if (p.same)
        parallel_for(launch, col_blocks, [&](int64_t begin, int64_t end) {
            for (int64_t panel = begin; panel < end; ++panel)
                fix_panel(p.k, static_cast<char*>(p.same) + panel * bytes(p.k),
                          [&](int64_t i, int64_t c) { return load(src + (panel * p.k + i) * kPanel + c); });
        });
    // One item: 32 rows of every source panel, which are one panel of the transpose.
    parallel_for(launch, row_blocks, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
            const int64_t i0 = block * kPanel, rows = least(kPanel, p.k - i0);
            const auto at = [&](int64_t panel, int64_t i) { return src + (panel * p.k + i0 + i) * kPanel; };
            alignas(64) float peaks[kPanel] = {};
            vf32 bad{};
            for (int64_t i = 0; i < rows; ++i) {
                vf32 peak{};
                for (int64_t panel = 0; panel < col_blocks; ++panel)
#pragma GCC unroll 8
                    for (int v = 0; v < NV; ++v) {
                        const vf32 x = load(at(panel, i) + v * L);
                        bad += x * 0.f;
                        peak = max<float>(magnitude(x), peak);
                    }
                for (int j = 0; j < L; ++j) peaks[i] = peak[j] > peaks[i] ? peak[j] : peaks[i];
            }
            if (p.nonfinite && nonzero_bits<float>(bad)) __atomic_store_n(p.nonfinite, 1, __ATOMIC_RELAXED);
            if (!p.turned) continue;
            FixedPanel fixed(static_cast<char*>(p.turned) + block * bytes(p.n), p.n, peaks);
            for (int64_t panel = 0; panel < col_blocks; ++panel)
                for (int64_t c = 0; c < least(kPanel, p.n - panel * kPanel); c += L) {
                    vf32 square[NV][L];
                    for (int v = 0; v < NV; ++v) {
                        for (int i = 0; i < L; ++i)
                            square[v][i] = v * L + i < rows ? load(at(panel, v * L + i) + c) : vf32{};
                        transpose<float>(square[v]);
                    }
                    const int64_t k0 = panel * kPanel + c;  // row of the transpose
                    for (int64_t j = 0; j < least(L, p.n - k0); ++j)
                        fixed.row(k0 + j, [&](int v) { return square[v][j]; });
                }
            fixed.finish();
        }
    });
}

template <class T>
void pack_panels(const PackPanels& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T* src = static_cast<const T*>(p.src);
    const bool bf16 = p.format == DType::bf16;
    const int64_t depth = padded_depth(p.format, p.k);
    parallel_for(launch, panels(p.n), [&](int64_t begin, int64_t end) {
        for (int64_t panel = begin; panel < end; ++panel) {
            char* dst = static_cast<char*>(p.dst) + panel * depth * kPanel * element_size(p.format);
            const int64_t n0 = panel * kPanel;
            const auto fetch = [&](int64_t i, int64_t c) {
                const int64_t n = least(p.n - n0 - c, L);
                if (i >= p.k || n <= 0) return Vec<T>{};
                const T* q = src + i * p.row_stride + (n0 + c) * p.col_stride;
                const T scale = p.k_scale ? static_cast<const T*>(p.k_scale)[i] : T(1);
                if (p.col_stride == 1) return load_n(q, n) * scale;
                Vec<T> v{};
                for (int64_t j = 0; j < n; ++j) v[j] = q[j * p.col_stride] * scale;
                return v;
            };
            if (p.format == DType::i16) {
                if constexpr (sizeof(T) == 4) fix_panel(p.k, dst, fetch);
            } else if (bf16) {
                if constexpr (sizeof(T) == 4)
                    for (int64_t i = 0; i < p.k; i += 2)
                        for (int64_t c = 0; c < kPanel; c += L)
                            store(reinterpret_cast<uint32_t*>(dst) + i / 2 * kPanel + c,
                                  to_bf16(fetch(i, c)) | to_bf16(fetch(i + 1, c)) << 16);
            } else {
                for (int64_t i = 0; i < p.k; ++i)
                    for (int64_t c = 0; c < kPanel; c += L)
                        store(reinterpret_cast<T*>(dst) + i * kPanel + c, fetch(i, c));
            }
        }
    });
}

template <class T>
void turn_panels(const TurnPanels& p, const Launch& launch) {
    if constexpr (sizeof(T) == 4)
        if (p.format == DType::i16) return turn_fixed(p, launch);
    constexpr int L = kLanes<T>;
    const T* src = static_cast<const T*>(p.src);
    const bool bf16 = p.format == DType::bf16;
    const int64_t depth = padded_depth(p.format, p.k), turned_depth = padded_depth(p.format, p.n);
    const int64_t row_blocks = panels(p.k), col_blocks = panels(p.n);
    // One item: rows [32 i, 32 i + 32) of every source panel, which is one panel of the transpose.
    parallel_for(launch, row_blocks, [&](int64_t begin, int64_t end) {
        Vec<T> bad{};
        for (int64_t i0 = begin * kPanel; i0 < least(end * kPanel, p.k); i0 += kPanel)
            for (int64_t panel = 0; panel < col_blocks; ++panel)
                for (int64_t i = i0; i < least(i0 + kPanel, row_blocks * kPanel); i += L)
                    for (int64_t c = 0; c < kPanel; c += L) {
                        Vec<T> v[L];
                        for (int64_t q = 0; q < L; ++q) {
                            const T* row = src + (panel * p.k + i + q) * kPanel + c;
                            v[q] = i + q < p.k ? load(row) : Vec<T>{};
                            __builtin_prefetch(row + p.k * kPanel);  // the same of the next panel, far away
                            bad += v[q] * T(0);
                        }
                        if constexpr (sizeof(T) == 4)
                            if (bf16 && p.same)
                                for (int64_t q = 0; q < L && i + q < p.k; q += 2)
                                    store(
                                        static_cast<uint32_t*>(p.same) + (panel * depth / 2 + (i + q) / 2) * kPanel + c,
                                        to_bf16(v[q]) | to_bf16(v[q + 1]) << 16);
                        if (!p.turned) continue;
                        transpose<T>(v);
                        const int64_t column = panel * kPanel + c;  // row of the transpose
                        const int64_t n = least(p.n - column, L);
                        if (bf16) {
                            if constexpr (sizeof(T) == 4)
                                for (int64_t q = 0; q < n; q += 2)
                                    store(static_cast<uint32_t*>(p.turned) +
                                              (i0 / kPanel * turned_depth / 2 + (column + q) / 2) * kPanel + (i - i0),
                                          to_bf16(v[q]) | to_bf16(v[q + 1]) << 16);
                        } else {
                            for (int64_t q = 0; q < n; ++q)
                                store(static_cast<T*>(p.turned) + (i0 / kPanel * p.n + column + q) * kPanel + (i - i0),
                                      v[q]);
                        }
                    }
        if (p.nonfinite && nonzero_bits<T>(bad)) __atomic_store_n(p.nonfinite, 1, __ATOMIC_RELAXED);
    });
}

// ---------------------------------------------------------------- bits

template <class T>
void pack_bits(const PackBits& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    parallel_for(launch, p.count, [&](int64_t begin, int64_t end) {
        uint32_t other = 0;
        for (int64_t i = begin; i < end; ++i) {
            const T* row = static_cast<const T*>(p.src) + (p.order ? p.order[i] : i) * p.row_stride;
            uint32_t* to = p.dst + i * bit_words(p.cols);
            for (int64_t j = 0; j < p.cols; j += 32) {
                uint32_t word = 0;
                for (int64_t q = j; q < least(j + 32, p.cols); q += L) {
                    const Vec<T> x = load_n(row + q, least(p.cols - q, L));
                    const uint32_t on = nonzero_bits<T>(x);
                    other |= on & nonzero_bits<T>(x - T(1));
                    word |= on << (q - j);
                }
                to[j / 32] = word;
            }
        }
        if (other && p.other) __atomic_store_n(p.other, 1, __ATOMIC_RELAXED);
    });
}

void turn_bits(const TurnBits& p, const Launch& launch) {
    constexpr int L = kLanes<float>;
    const int64_t in = bit_words(p.cols), out = bit_words(p.rows);
    parallel_for(launch, in, [&](int64_t begin, int64_t end) {
        for (int64_t word = begin; word < end; ++word)
            for (int64_t r0 = 0; r0 < p.rows; r0 += 32) {
                uint32_t square[32] = {};
                for (int64_t r = 0; r < least(32, p.rows - r0); ++r) square[r] = p.src[(r0 + r) * in + word];
                for (int64_t c = 0; c < least(32, p.cols - word * 32); ++c) {
                    uint32_t column = 0;
                    for (int q = 0; q < 32; q += L) column |= sign_bits(load(square + q) << uint32_t(31 - c)) << q;
                    p.dst[(word * 32 + c) * out + r0 / 32] = column;
                }
            }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(PackPanels, pack_panels)
USF_KERNEL_BY_DTYPE(TurnPanels, turn_panels)
USF_KERNEL_BY_DTYPE(PackBits, pack_bits)
USF_KERNEL(USF_ISA, TurnBits) { USF_ISA::turn_bits(p, launch); }

}  // namespace unsupfast
