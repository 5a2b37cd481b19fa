// Gibbs half-step and contrastive weight update: epilogues on the GEMM engine.
#include "kernels/rbm/op.h"

#include "kernels/gemm/by_rows.h"
#include "kernels/layout/op.h"
#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

typedef float HalfVec __attribute__((vector_size(USF_BYTES / 2)));  // as many floats as a vector has doubles

// The first n of kLanes<T> uniforms in [0, 1), rounded down: u < p decides the same for every p of type T.
template <class T>
Vec<T> rounded_down(const double* u, int64_t n) {
    if constexpr (sizeof(T) == 8) {
        return load_n(u, n);
    } else {
        // without the 29 bits that a float lacks nothing is left to round
        constexpr int L = kLanes<double>;
        alignas(64) float x[2 * L];
        for (int half = 0; half < 2; ++half) {
            const int64_t from = half * L;
            const vf64 part = n > from ? load_n(u + from, n - from) : vf64{};
            const auto cut = __builtin_convertvector(bits<vf64>(bits<vu64>(part) >> 29 << 29), HalfVec);
            std::memcpy(x + from, &cut, sizeof cut);
        }
        return load(x);
    }
}

// Sums columns of partial[column][row] in column order.
template <class T>
void reduce_partials(const T* partial, int64_t columns, int64_t rows, T* out, bool accumulate) {
    for (int64_t i = 0; i < rows; ++i) {
        T s = accumulate ? out[i] : T(0);
        for (int64_t c = 0; c < columns; ++c) s += partial[c * rows + i];
        out[i] = s;
    }
}

template <class T>
void half_step(const HalfStep& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T scale = T(p.scale), ratio = T(p.ratio);
    const T *bias = static_cast<const T*>(p.bias), *sigma = static_cast<const T*>(p.sigma);
    const T* field = static_cast<const T*>(p.field);
    T *mean = static_cast<T*>(p.mean), *sample = static_cast<T*>(p.sample);
    T* partial = nullptr;
    if (p.log_partition)
        partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.n) * p.m) * sizeof(T)));

    multiply_best<T>(p.m, p.n, p.k, p.states, p.weights, p.format, launch,
                     [&](int64_t m0, int rows, int64_t n0, int64_t cols, const T* tile) {
                         alignas(64) float u[kTileRows<T> + 1][kPanel];
                         const bool draws = sample || p.bits;
                         const double* given = p.draw.given;
                         if (draws && !given)
                             uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(m0),
                                          rows, uint32_t(n0), u);
                         for (int r = 0; r < rows; ++r) {
                             Vec<T> terms{};
                             uint32_t word = 0;
                             for (int64_t j = 0; j < cols; j += L) {
                                 const int64_t n = least(cols - j, L), at = (m0 + r) * p.n + n0 + j;
                                 const auto uniform = [&] {
                                     return given ? rounded_down<T>(given + at, n) : from_floats<T>(&u[r][j]);
                                 };
                                 const auto keep = [&](Vec<T> on) {
                                     if (sample) store_n(sample + at, on, n);
                                     word |= nonzero_bits<T>(first_n<T>(on, n)) << j;
                                 };
                                 Vec<T> in = load(tile + r * kPanel + j);
                                 if (field) in += load_n(field + at, n);
                                 const Vec<T> x = in * scale + load_n(bias + n0 + j, n);
                                 if (partial)
                                     terms +=
                                         first_n<T>(ratio < 0 ? softplus(x) : softplus(x) - softplus(x * ratio), n);
                                 if (!mean && !draws) continue;
                                 if (!mean && p.unit == Unit::bernoulli) {
                                     // u < sigmoid(x) without a division
                                     const Vec<T> draw = uniform();
                                     keep(draw + draw * exp(-x) < T(1) ? splat(T(1)) : Vec<T>{});
                                     continue;
                                 }
                                 const Vec<T> centre = p.unit == Unit::bernoulli ? sigmoid(x) : x;
                                 if (mean) store_n(mean + at, centre, n);
                                 if (!draws) continue;
                                 const Vec<T> draw = uniform();
                                 if (p.unit == Unit::gaussian) {
                                     store_n(sample + at, centre + load_n(sigma + n0 + j, n) * probit(draw), n);
                                     continue;
                                 }
                                 keep(draw < centre ? splat(T(1)) : Vec<T>{});
                             }
                             if (p.bits) p.bits[(m0 + r) * bit_words(p.n) + n0 / 32] = word;
                             if (partial) partial[n0 / kPanel * p.m + m0 + r] = sum<T>(terms);
                         }
                     });
    if (partial) reduce_partials(partial, panels(p.n), p.m, static_cast<T*>(p.log_partition), true);
}

template <class T>
void weight_update(const WeightUpdate& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T rate = T(p.rate), momentum = T(p.momentum), l2 = T(p.l2), l1 = T(p.l1);
    T *weights = static_cast<T*>(p.weights), *velocity = static_cast<T*>(p.velocity);
    const T* row_scale = static_cast<const T*>(p.row_scale);
    const T *left[2], *right[2];
    for (int t = 0; t < 2; ++t) {
        left[t] = static_cast<const T*>(p.left[t]);
        right[t] = static_cast<const T*>(p.right[t]);
    }
    T* partial = nullptr;
    if (p.row_dot)
        partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.hiddens) * p.visibles) * sizeof(T)));

    // the hidden states become the right operand: rows x hiddens
    void* hidden =
        launch.scratch(kRightScratch, size_t(panel_elements(p.format, p.rows, p.hiddens) * element_size(p.format)));
    const PackPanels pack{p.rows, p.hiddens, p.hidden, p.hiddens, 1, hidden, p.dtype, p.format, p.contrast};
    USF_KERNEL_NAME(USF_ISA, PackPanels)(pack, launch);

    const auto step = [&](int64_t m0, int rows, int64_t n0, int64_t cols, const T* tile) {
        for (int r = 0; r < rows; ++r) {
            const int64_t i = m0 + r;
            T* w_row = weights + (n0 / kPanel * p.visibles + i) * kPanel;
            T* v_row = velocity ? velocity + (w_row - weights) : nullptr;
            const T factor = row_scale ? row_scale[i] : T(1);
            Vec<T> dot{};
            for (int64_t j = 0; j < cols; j += L) {
                const Vec<T> product = load(tile + r * kPanel + j);
                Vec<T> w = load(w_row + j), g = product * factor;
                if (partial) dot += w * product;
                for (int t = 0; t < 2; ++t)
                    if (left[t]) g -= load_n(right[t] + n0 + j, least(cols - j, L)) * left[t][i];
                if (l2 != 0) g -= w * l2;
                if (l1 != 0) g -= w > T(0) ? splat(l1) : w < T(0) ? splat(-l1) : Vec<T>{};
                g *= rate;
                if (velocity) {
                    g += load(v_row + j) * momentum;
                    store(v_row + j, g);
                }
                store(w_row + j, w + g);
            }
            if (partial) partial[n0 / kPanel * p.visibles + i] = sum<T>(dot);
        }
    };
    multiply_shared<T>(p.visibles, p.hiddens, p.rows, p.visible, hidden, p.format, launch, step);
    if (partial) reduce_partials(partial, panels(p.hiddens), p.visibles, static_cast<T*>(p.row_dot), false);
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(HalfStep, half_step)
USF_KERNEL_BY_DTYPE(WeightUpdate, weight_update)

}  // namespace unsupfast
