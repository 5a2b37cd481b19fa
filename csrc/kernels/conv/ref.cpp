// Plain loops: the meaning of what convolutions need beside products.
#include "kernels/conv/op.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void turn_filters(const TurnFilters& p) {
    const T* src = static_cast<const T*>(p.src);
    ref::fill_panels<T>(
        p.height * p.cols * p.filters, p.block * p.channels, p.format, p.dst, [&](int64_t i, int64_t j) {
            const int64_t k = i % p.filters, x = i / p.filters % p.cols, r = p.height - 1 - i / p.filters / p.cols;
            const int64_t s = j / p.channels - x + p.offset;
            if (s < 0 || s >= p.width) return T(0);
            return src[((k * p.height + r) * p.width + s) * p.channels + j % p.channels];
        });
}

template <class T>
void pooling_step(const PoolingStep& p) {
    std::vector<T> field(size_t(p.m * p.n));
    ref::multiply<T>(p.m, p.n, p.k, p.states, p.weights, p.format, [&](int64_t i, int64_t j, T sum) {
        field[size_t(i * p.n + j)] = T(p.scale) * sum + static_cast<const T*>(p.bias)[j];
    });
    const int64_t C = p.pool, positions = p.out_height * p.out_width, words = bit_words(p.out_width * p.n);
    const int64_t across = p.out_width / C, blocks = p.out_height / C * across, maps = p.m / positions;
    for (int64_t i = 0; p.bits && i < maps * p.out_height * words; ++i) p.bits[i] = 0;
    for (int64_t block = 0; block < maps * blocks; ++block)
        for (int64_t j = 0; j < p.n; ++j) {
            const int64_t map = block / blocks, place = block % blocks;
            const auto row = [&](int64_t q) { return map * p.out_height + place / across * C + q / C; };
            const auto column = [&](int64_t q) { return place % across * C + q % C; };
            const auto at = [&](int64_t q) { return (row(q) * p.out_width + column(q)) * p.n + j; };
            const auto log_sum = [&](T factor) {
                T top = 0, sum = 0;
                for (int64_t q = 0; q < C * C; ++q) top = std::max(top, factor * field[size_t(at(q))]);
                for (int64_t q = 0; q < C * C; ++q) sum += std::exp(factor * field[size_t(at(q))] - top);
                return top + std::log(std::exp(-top) + sum);
            };
            const T all = log_sum(T(1));
            if (p.log_partition)
                static_cast<T*>(p.log_partition)[map] += all - (p.ratio < 0 ? T(0) : log_sum(T(p.ratio)));
            const T u = philox_uniform(p.draw.seed, uint32_t(place * p.n + j), p.draw.first_row + uint32_t(map),
                                       step_of(p.draw), p.draw.stream);
            T passed = 0;
            for (int64_t q = 0; q < C * C; ++q) {
                const T mean = std::exp(field[size_t(at(q))] - all), before = passed;
                passed += mean;
                if (p.mean) static_cast<T*>(p.mean)[at(q)] = mean;
                if (!p.bits || u < before || u >= passed) continue;
                const int64_t bit = column(q) * p.n + j;
                p.bits[row(q) * words + bit / 32] |= 1u << bit % 32;
            }
            if (p.pooled) static_cast<T*>(p.pooled)[block * p.n + j] = passed;
        }
}

template <class T>
void filter_gradient(const FilterGradient& p) {
    const T* hidden = static_cast<const T*>(p.hidden);
    T *out = static_cast<T*>(p.out), *sums = static_cast<T*>(p.sums);
    std::vector<uint64_t> right(size_t(panel_elements(p.format, p.m, p.n)));
    ref::fill_panels<T>(p.m, p.n, p.format, right.data(), [&](int64_t i, int64_t j) { return hidden[i * p.n + j]; });
    Left turned = p.patches;
    turned.patches.turned = true;
    ref::multiply<T>(p.k, p.n, p.m, turned, right.data(), p.format, [&](int64_t tap, int64_t j, T sum) {
        T& to = out[j * p.k + tap];
        to = T(p.scale) * sum + (p.beta == 0 ? T(0) : T(p.beta) * to);
    });
    for (int64_t j = 0; sums && j < p.n; ++j) {
        T sum = 0;
        for (int64_t i = 0; i < p.m; ++i) sum += hidden[i * p.n + j];
        sums[j] = T(p.scale) * sum + (p.beta == 0 ? T(0) : T(p.beta) * sums[j]);
    }
}

}  // namespace

USF_REF_BY_DTYPE(TurnFilters, turn_filters)
USF_REF_BY_DTYPE(PoolingStep, pooling_step)
USF_REF_BY_DTYPE(FilterGradient, filter_gradient)

}  // namespace unsupfast
