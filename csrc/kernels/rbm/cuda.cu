// Gibbs half-step and contrastive weight update on the GPU: epilogues on the GEMM engine.
#include "kernels/rbm/op.h"

#include "elementary.h"
#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"

namespace unsupfast {
namespace cuda {
namespace {

enum RbmScratch : int { kHiddenScratch = 5 };

// Within 2e-7 of the sigmoid in float32, at a third of its instructions.
__device__ __forceinline__ float quick_sigmoid(float x) {
    const float e = __expf(-fabsf(x));
    return __fdividef(x < 0 ? e : 1.f, 1.f + e);
}
__device__ __forceinline__ double quick_sigmoid(double x) { return sigmoid(x); }

// The four columns of a thread are the four words of one Philox block: one block of random numbers for four
// samples, and nothing to exchange between lanes. `kBits`: Bernoulli units whose samples are bits, with nothing but
// the product coming in, without the branches of the others, as training asks for them.
template <class T, bool kBits>
struct GibbsEpilogue {
    int64_t m, n;
    const T *bias, *sigma, *field;
    T scale, ratio;
    bool gaussian;
    T *mean, *sample, *partial;
    uint32_t* bits;
    Draw draw;

    __device__ bool wants_row_sums() const { return partial != nullptr; }
    __device__ void row_sum(int64_t row, int64_t panel, T sum) const { partial[panel * m + row] = sum; }
    __device__ bool wants_words() const { return bits != nullptr; }
    __device__ void store_word(int64_t row, int64_t panel, uint32_t word) const {
        bits[row * ((n + 31) / 32) + panel] = word;
    }
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4], Nothing, uint32_t& word) const {
        const int64_t first = panel * kPanel + b, at = row * n + first;
        const int left = int(min(n - first, kPanel));
        const bool samples = bits || (!kBits && sample);
        T x[4], centre[4], terms(0);
#pragma unroll
        for (int w = 0; w < 4; ++w) x[w] = column_of(0, w) < left ? bias[first + column_of(0, w)] : T(0);
        Philox4 random = {};
        if (samples && (kBits || !draw.given))
            random = philox(draw.seed, uint32_t(panel) * 8u + uint32_t(b), draw.first_row + uint32_t(row),
                            step_of(draw), draw.stream);
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            T in = sums[w];
            if constexpr (!kBits)
                if (field && column_of(0, w) < left) in += field[at + column_of(0, w)];
            x[w] = scale * in + x[w];
            centre[w] = !kBits && gaussian ? x[w] : quick_sigmoid(x[w]);
        }
        if (partial)
#pragma unroll
            for (int w = 0; w < 4; ++w)
                if (column_of(0, w) < left)
                    terms += ratio < T(0) ? softplus(x[w]) : softplus(x[w]) - softplus(ratio * x[w]);
        if (mean)
#pragma unroll
            for (int w = 0; w < 4; ++w)
                if (column_of(0, w) < left) mean[at + column_of(0, w)] = centre[w];
        if (!samples) return terms;
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            const int c = column_of(0, w);
            if constexpr (kBits) {
                const bool on = T(uniform_from_bits(random.word[w])) < centre[w];
                word |= uint32_t(on && c < left) << (b + c);
            } else if (c < left) {
                const T u = draw.given ? rounded_down<T>(draw.given[at + c]) : T(uniform_from_bits(random.word[w]));
                if (sample) sample[at + c] = gaussian ? centre[w] + sigma[first + c] * probit(u) : T(u < centre[w]);
                if (u < centre[w]) word |= 1u << (b + c);
            }
        }
        return terms;
    }
};

template <class T>
void half_step(const HalfStep& p, const Launch& launch) {
    if (p.m == 0 || p.n == 0) return;
    T* partial = nullptr;
    if (p.log_partition)
        partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.n) * p.m) * sizeof(T)));
    const auto run = [&]<bool kBits>(std::bool_constant<kBits>) {
        multiply<T>(
            p.m, p.n, p.k, p.states, right_panels(p.weights, p.format), p.format, launch,
            GibbsEpilogue<T, kBits>{p.m, p.n, static_cast<const T*>(p.bias), static_cast<const T*>(p.sigma),
                                    static_cast<const T*>(p.field), T(p.scale), T(p.ratio), p.unit == Unit::gaussian,
                                    static_cast<T*>(p.mean), static_cast<T*>(p.sample), partial, p.bits, p.draw});
    };
    if (p.unit == Unit::bernoulli && !p.sample && !p.draw.given && !p.field)
        run(std::true_type());
    else
        run(std::false_type());
    if (partial) sum_partials<T>(launch, partial, panels(p.n), p.m, T(1), static_cast<T*>(p.log_partition));
}

template <class T>
struct UpdateEpilogue {
    int64_t visibles, hiddens;
    T *weights, *velocity;
    const T *row_scale, *left[2], *right[2];
    T* partial;
    T rate, momentum, l2, l1;

    __device__ bool wants_row_sums() const { return partial != nullptr; }
    __device__ void row_sum(int64_t row, int64_t panel, T sum) const { partial[panel * visibles + row] = sum; }
    struct Loaded {
        T weight[4] = {}, velocity[4] = {};
    };
    __device__ Loaded load(int64_t row, int64_t panel, int b) const {
        const int64_t at = (panel * visibles + row) * kPanel + b;
        Loaded loaded;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            loaded.weight[i] = weights[at + column_of(0, i)];
            if (velocity) loaded.velocity[i] = velocity[at + column_of(0, i)];
        }
        return loaded;
    }
    __device__ T operator()(int64_t row, int64_t panel, int b, const T (&sums)[4], const Loaded& loaded) const {
        const T factor = row_scale ? row_scale[row] : T(1);
        T dot(0);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t column = panel * kPanel + column_of(b, i);
            const int64_t at = (panel * visibles + row) * kPanel + column_of(b, i);
            if (column >= hiddens) continue;  // the padding of the last panel stays zero
            const T w = loaded.weight[i];
            T g = sums[i] * factor;
            dot += w * sums[i];
            for (int t = 0; t < 2; ++t)
                if (left[t]) g -= left[t][row] * right[t][column];
            g -= l2 * w;
            g -= w > T(0) ? l1 : w < T(0) ? -l1 : T(0);
            g *= rate;
            if (velocity) {
                g += momentum * loaded.velocity[i];
                velocity[at] = g;
            }
            weights[at] = w + g;
        }
        return dot;
    }
};

template <class T>
void weight_update(const WeightUpdate& p, const Launch& launch) {
    if (p.visibles == 0) return;
    T* partial = nullptr;
    if (p.row_dot)
        partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.hiddens) * p.visibles) * sizeof(T)));
    const auto values = [](const void* x) { return static_cast<const T*>(x); };
    // the hidden states are read as they are: no panels of them are built, except to round them to fixed point
    Right hidden = right_values(p.hidden, p.hiddens, p.contrast);
    if (p.format == DType::i16) {
        void* made = launch.scratch(kHiddenScratch, size_t(panel_elements(p.format, p.rows, p.hiddens)) * 2);
        PackPanels_cuda(PackPanels{p.rows, p.hiddens, p.hidden, p.hiddens, 1, made, p.dtype, p.format, p.contrast},
                        launch);
        hidden = right_panels(made, p.format);
    }
    multiply<T>(p.visibles, p.hiddens, p.rows, p.visible, hidden, p.format, launch,
                UpdateEpilogue<T>{p.visibles,
                                  p.hiddens,
                                  static_cast<T*>(p.weights),
                                  static_cast<T*>(p.velocity),
                                  values(p.row_scale),
                                  {values(p.left[0]), values(p.left[1])},
                                  {values(p.right[0]), values(p.right[1])},
                                  partial,
                                  T(p.rate),
                                  T(p.momentum),
                                  T(p.l2),
                                  T(p.l1)});
    if (p.row_dot) sum_partials<T>(launch, partial, panels(p.hiddens), p.visibles, T(0), static_cast<T*>(p.row_dot));
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(HalfStep, cuda::half_step)
USF_CUDA_KERNEL_BY_DTYPE(WeightUpdate, cuda::weight_update)

}  // namespace unsupfast
