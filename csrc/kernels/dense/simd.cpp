// Dense layers on the GEMM engine: activation and bias on the way out, derivative and packing on the way in.
#include "kernels/dense/op.h"

#include "kernels/dense/act_simd.h"
#include "kernels/gemm/by_rows.h"
#include "kernels/layout/op.h"
#include "kernels/optim/step.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
void dense(const Dense& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T* bias = static_cast<const T*>(p.bias);
    T* y = static_cast<T*>(p.y);
    const void* right = p.w;
    if (p.turned || p.format != p.dtype) {
        void* made = launch.scratch(kRightScratch, size_t(panel_elements(p.format, p.k, p.n) * element_size(p.format)));
        USF_KERNEL_NAME(USF_ISA, TurnPanels)
        (p.turned ? TurnPanels{p.n, p.k, p.w, made, nullptr, nullptr, p.dtype, p.format}
                  : TurnPanels{p.k, p.n, p.w, nullptr, made, nullptr, p.dtype, p.format},
         launch);
        right = made;
    }
    with_activation(p.act, [&]<Activation kAct>() {
        const Product product{p.k, p.x, right};
        multiply_by_rows<T>(p.m, p.n, &product, 1, p.format, launch,
                            [&](int64_t m0, int rows, int64_t n0, int64_t cols, const T* tile) {
                                for (int64_t j = 0; j < cols; j += L) {
                                    const int64_t n = least(cols - j, L);
                                    const Vec<T> b = bias ? load_n(bias + n0 + j, n) : Vec<T>{};
                                    for (int r = 0; r < rows; ++r)
                                        store_n(y + (m0 + r) * p.n + n0 + j,
                                                activate<T, kAct>(load(tile + r * kPanel + j) + b), n);
                                }
                            });
    });
}

// One item is a panel of 32 columns and all of its rows, so each sum has one order.
template <class T>
void gate(const Gate& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T *g = static_cast<const T*>(p.g), *y = static_cast<const T*>(p.y);
    T *out = static_cast<T*>(p.rows), *sums = static_cast<T*>(p.sums);
    const bool bf16 = p.format == DType::bf16;
    const int64_t depth = padded_depth(p.format, p.m);
    with_activation(y ? p.act : Activation::identity, [&]<Activation kAct>() {
        parallel_for(launch, panels(p.n), [&](int64_t begin, int64_t end) {
            for (int64_t panel = begin; panel < end; ++panel) {
                char* dst = static_cast<char*>(p.panels) + panel * depth * kPanel * element_size(p.format);
                for (int64_t c = 0; c < kPanel; c += L) {
                    const int64_t j = panel * kPanel + c, n = most(0, least(p.n - j, L));
                    Vec<T> total{};
                    const auto fetch = [&](int64_t i) {
                        const int64_t at = i * p.n + j;
                        // rows are far apart in memory: beyond the hardware's own guesses
                        __builtin_prefetch(g + at + 12 * p.n);
                        if constexpr (kAct != Activation::identity) __builtin_prefetch(y + at + 12 * p.n);
                        Vec<T> z = load_n(g + at, n);
                        if constexpr (kAct != Activation::identity) z *= slope<T, kAct>(load_n(y + at, n));
                        if (out) store_n(out + at, z, n);
                        total += z;
                        return z;
                    };
                    if (bf16 && p.panels) {
                        if constexpr (sizeof(T) == 4)
                            for (int64_t i = 0; i < p.m; i += 2) {
                                const vu32 low = to_bf16(fetch(i));
                                const vu32 high = i + 1 < p.m ? to_bf16(fetch(i + 1)) : vu32{};
                                store(reinterpret_cast<uint32_t*>(dst) + i / 2 * kPanel + c, low | high << 16);
                            }
                    } else {
                        for (int64_t i = 0; i < p.m; ++i) {
                            const Vec<T> z = fetch(i);
                            if (p.panels) store(reinterpret_cast<T*>(dst) + i * kPanel + c, z);
                        }
                    }
                    if (sums) store_n(sums + j, total, n);
                }
            }
        });
    });
}

// The gradient of a tile's elements from `at` (in w) on, in columns from j on; the padding has none.
template <class T>
Vec<T> gradient_of(const T* tile, const T* w, const T* columns, int64_t at, int64_t j, int64_t n) {
    // the tile has whole vectors up to the last column
    Vec<T> g = first_n<T>(load(tile), n);
    if (columns) g += load(w + at) * load_n(columns + j, n);
    return g;
}

template <class T>
void dense_weight(const DenseWeight& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    T* out = static_cast<T*>(p.out);
    const T *w = static_cast<const T*>(p.w), *columns = static_cast<const T*>(p.columns), beta = T(p.beta);
    multiply_by_rows<T>(p.k, p.n, p.products, p.count, p.format, launch,
                        [&](int64_t m0, int rows, int64_t n0, int64_t cols, const T* tile) {
                            const int64_t begin = (n0 / kPanel * p.k + m0) * kPanel;
                            for (int64_t i = 0; i < rows * kPanel; i += kPanel)
                                for (int64_t j = 0; j < kPanel; j += L) {
                                    const int64_t at = begin + i + j;
                                    Vec<T> y{};
                                    if (j < cols) y = gradient_of(tile + i + j, w, columns, at, n0 + j, cols - j);
                                    if (beta != 0) y += load(out + at) * beta;
                                    store(out + at, y);
                                }
                        });
}

// The step of a tile of weights, in pieces of a vector, and the memory of the next tile fetched.
template <class T, Rule kRule>
struct StepPieces {
    static constexpr int kPieces = kTileVectors<T>;
    const RuleNumbers<T>& numbers;
    const Slice& slice;
    const T* columns;
    int32_t* nonfinite;
    Tile<T> done;
    int64_t begin, next, next_rows;  // first elements of the tiles in the slice

    void operator()(int q) const {
        constexpr int L = kLanes<T>;
        const int64_t at = q * L, j = at % kPanel;
        const void* const streams[] = {slice.g, slice.p, slice.m, slice.v};
        if (at < next_rows * kPanel)
            for (const void* x : streams)
                if (x) __builtin_prefetch(static_cast<const T*>(x) + next + at, 1);
        if (at >= done.rows * kPanel || j >= done.cols) return;  // the padding is zero, and its gradient too
        Vec<T> g = gradient_of(done.values + at, static_cast<const T*>(slice.p), columns, begin + at, done.n0 + j,
                               done.cols - j);
        if (slice.g) g += load(static_cast<const T*>(slice.g) + begin + at);
        const Vec<T> value = step_at<T, kRule>(numbers, slice, begin + at, L, g);
        if (nonzero_bits<T>(value * T(0))) __atomic_store_n(nonfinite, 1, __ATOMIC_RELAXED);
    }
};

template <class T, Rule kRule>
struct Update {
    const DenseUpdate& p;
    const RuleNumbers<T> numbers;

    int64_t first(const Tile<T>& tile) const { return (tile.n0 / kPanel * p.k + tile.m0) * kPanel; }
    StepPieces<T, kRule> beside(const Tile<T>& done, const Tile<T>& next) const {
        return {numbers,     p.step.slices[0], static_cast<const T*>(p.columns), p.step.nonfinite, done, first(done),
                first(next), next.rows};
    }
};

template <class T, Rule kRule>
void update_with(const DenseUpdate& p, const Launch& launch) {
    const Update<T, kRule> update{p, RuleNumbers<T>(p.step, p.step.slices[0].decay)};
    multiply_by_rows<T>(p.k, p.n, p.products, p.count, p.format, launch, update);
}

template <class T>
void dense_update(const DenseUpdate& p, const Launch& launch) {
    with_rule(p.step.rule, [&]<Rule kRule>() { update_with<T, kRule>(p, launch); });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Dense, dense)
USF_KERNEL_BY_DTYPE(Gate, gate)
USF_KERNEL_BY_DTYPE(DenseWeight, dense_weight)
USF_KERNEL_BY_DTYPE(DenseUpdate, dense_update)

}  // namespace unsupfast
