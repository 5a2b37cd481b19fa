// Parallel tempering: chains at several temperatures that exchange their states.
//
// The path is that of annealing: at inverse temperature b hidden fields are b (W'v + b_h), visible ones
// b (W h + a) + (1 - b) a_0, so that the hottest chains draw independent units and forget at once.
#include <algorithm>
#include <cmath>

#include "philox.h"
#include "rbm/rbm.h"

namespace unsupfast {

void Rbm::temper(States& h, States& v, const TrainOptions& options, uint64_t sweep, void* mean, const void* totals) {
    by_dtype(dtype, [&]<class T>(T) { temper_as<T>(h, v, options, sweep, mean, totals); });
}

template <class T>
void Rbm::temper_as(States& h, States& v, const TrainOptions& o, uint64_t sweep, void* mean, const void* totals) {
    const int64_t levels = int64_t(o.temperatures.size()), C = h.count() / levels;
    const T *a = visible_bias_.as<T>(), *b = hidden_bias_.as<T>();
    std::vector<T> bias(size_t(std::max(visibles, hiddens))), log_z(size_t(2 * C));
    const auto block_totals = [&](int64_t t) {
        return totals ? static_cast<const void*>(static_cast<const T*>(totals) + t * C) : nullptr;
    };
    // Gaussian visibles keep mean and variance along the path
    std::vector<bool> kept(size_t(visibles), false);
    for (const Segment& s : visible.segments)
        if (s.unit == Unit::gaussian) std::fill(kept.begin() + s.begin, kept.begin() + s.end, true);
    const auto shift = [&](int64_t i) { return kept[size_t(i)] ? 0.0 : double(a[i]) - o.base_bias[size_t(i)]; };

    for (int64_t t = 0; t < levels; ++t) {
        const double beta = o.temperatures[size_t(t)];
        for (int64_t i = 0; i < visibles; ++i) bias[size_t(i)] = T(double(a[i]) - (1 - beta) * shift(i));
        visible_step(h.left(t * C), C, bias.data(), beta, -1, v.samples(t * C),
                     {seed, uint32_t(sweep), kVisible, uint32_t(t * C)}, block_totals(t));
    }

    // log of the ratio of a state's weights at temperatures t + 1 and t
    const auto log_ratio = [&](int64_t t, int64_t block, T* out) {
        const double to = o.temperatures[size_t(t) + 1], from = o.temperatures[size_t(t)];
        for (int64_t j = 0; j < hiddens; ++j) bias[size_t(j)] = T(to) * b[j];
        std::fill_n(out, C, T(0));
        Outputs sums;
        sums.log_partition = out;
        hidden_step(v.left(block * C), C, bias.data(), to, from / to, sums, Draw{}, block_totals(block));
        for (int64_t c = 0; c < C; ++c) {
            double linear = 0;
            if (const uint32_t* row = v.bits(block * C + c)) {
                for (int64_t w = 0; w < bit_words(visibles); ++w)
                    for (uint32_t m = row[w]; m; m &= m - 1) linear += shift(w * 32 + __builtin_ctz(m));
            } else {
                const T* values = static_cast<const T*>(v.values(block * C + c));
                for (int64_t i = 0; i < visibles; ++i) linear += double(values[i]) * shift(i);
            }
            out[c] += T((to - from) * linear);
        }
    };
    swaps.resize(size_t(2 * (levels - 1)));
    for (int64_t t = int64_t((updates + sweep - step) % 2); t + 1 < levels; t += 2) {
        log_ratio(t, t, log_z.data());
        log_ratio(t, t + 1, log_z.data() + C);
        for (int64_t c = 0; c < C; ++c) {
            const double u = philox_uniform(seed, uint32_t(t), uint32_t(c), uint32_t(sweep), kSwap);
            const bool accepted = u < std::exp(double(log_z[size_t(c)]) - double(log_z[size_t(C + c)]));
            if (accepted) v.swap_rows(t * C + c, (t + 1) * C + c);
            swaps[size_t(2 * t)] += accepted;
            swaps[size_t(2 * t + 1)] += 1;
        }
    }

    for (int64_t t = 0; t < levels; ++t) {
        const double beta = o.temperatures[size_t(t)];
        for (int64_t j = 0; j < hiddens; ++j) bias[size_t(j)] = T(beta) * b[j];
        Outputs out = h.samples(t * C);
        if (t + 1 == levels) out.mean = mean;
        hidden_step(v.left(t * C), C, bias.data(), beta, -1, out, {seed, uint32_t(sweep), kHidden, uint32_t(t * C)},
                    block_totals(t));
    }
}

}  // namespace unsupfast
