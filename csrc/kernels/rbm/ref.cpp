// Plain loops: the meaning of the Gibbs half-step and of the weight update.
#include "kernels/rbm/op.h"

#include <vector>

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void half_step(const HalfStep& p) {
    for (int64_t i = 0; p.bits && i < p.m * bit_words(p.n); ++i) p.bits[i] = 0;
    const T *bias = static_cast<const T*>(p.bias), *sigma = static_cast<const T*>(p.sigma);
    const T* field = static_cast<const T*>(p.field);
    T *mean = static_cast<T*>(p.mean), *sample = static_cast<T*>(p.sample), *log_z = static_cast<T*>(p.log_partition);
    ref::multiply<T>(p.m, p.n, p.k, p.states, p.weights, p.format, [&](int64_t i, int64_t j, T sum) {
        const T x = T(p.scale) * (field ? sum + field[i * p.n + j] : sum) + bias[j];
        if (log_z) log_z[i] += softplus(x) - (p.ratio < 0 ? T(0) : softplus(T(p.ratio) * x));
        const T centre = p.unit == Unit::bernoulli ? sigmoid(x) : x;
        if (mean) mean[i * p.n + j] = centre;
        if (!sample && !p.bits) return;
        const Draw& d = p.draw;
        const T u = d.given ? rounded_down<T>(d.given[i * p.n + j])
                            : T(philox_uniform(d.seed, uint32_t(j), d.first_row + uint32_t(i), step_of(d), d.stream));
        const T drawn = p.unit == Unit::bernoulli ? T(u < centre) : centre + sigma[j] * probit(u);
        if (sample) sample[i * p.n + j] = drawn;
        if (p.bits) p.bits[i * bit_words(p.n) + j / 32] |= uint32_t(drawn) << j % 32;
    });
}

template <class T>
void weight_update(const WeightUpdate& p) {
    T *weights = static_cast<T*>(p.weights), *velocity = static_cast<T*>(p.velocity);
    T* row_dot = static_cast<T*>(p.row_dot);
    if (row_dot)
        for (int64_t i = 0; i < p.visibles; ++i) row_dot[i] = 0;
    std::vector<uint64_t> hidden(size_t(panel_elements(p.format, p.rows, p.hiddens)));
    const T *h = static_cast<const T*>(p.hidden), *c = static_cast<const T*>(p.contrast);
    ref::fill_panels<T>(p.rows, p.hiddens, p.format, hidden.data(),
                        [&](int64_t i, int64_t j) { return h[i * p.hiddens + j] * c[i]; });
    ref::multiply<T>(p.visibles, p.hiddens, p.rows, p.visible, hidden.data(), p.format,
                     [&](int64_t i, int64_t j, T sum) {
                         T& w = weights[ref::panel_index(p.dtype, p.visibles, i, j)];
                         if (row_dot) row_dot[i] += w * sum;
                         T g = sum * (p.row_scale ? static_cast<const T*>(p.row_scale)[i] : T(1));
                         for (int t = 0; t < 2; ++t)
                             if (p.left[t])
                                 g -= static_cast<const T*>(p.left[t])[i] * static_cast<const T*>(p.right[t])[j];
                         g -= T(p.l2) * w + T(p.l1) * T((w > 0) - (w < 0));
                         T step = T(p.rate) * g;
                         if (velocity) {
                             T& v = velocity[ref::panel_index(p.dtype, p.visibles, i, j)];
                             step += T(p.momentum) * v;
                             v = step;
                         }
                         w += step;
                     });
}

}  // namespace

USF_REF_BY_DTYPE(HalfStep, half_step)
USF_REF_BY_DTYPE(WeightUpdate, weight_update)

}  // namespace unsupfast
