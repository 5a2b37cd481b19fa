// Long chains from given states: Gibbs sampling and annealing.
#include <algorithm>
#include <cstring>

#include "kernels/layout/op.h"
#include "rbm/rbm.h"
#include "registry.h"

namespace unsupfast {
namespace {

// Visible states of chains that live in the caller's values, and are kept as bits while all are 0 or 1.
class VisibleChains {
  public:
    VisibleChains(const Rbm& r, void* values, int64_t count) : r_(r), values_(values), count_(count) {
        if (!r.visible.binary()) return;
        bits_.resize(size_t(count * bit_words(r.visibles)));
        int32_t other = 0;
        run(PackBits{count, r.visibles, values, r.visibles, nullptr, bits_.data(), &other, r.dtype});
        if (other) bits_.clear();
    }
    bool binary() const { return !bits_.empty(); }
    uint32_t* bits() { return binary() ? bits_.data() : nullptr; }
    Left left() const { return binary() ? bit_rows(bits_.data(), r_.visibles) : Left{values_, r_.visibles, 1}; }
    // Where a half-step leaves the next states.
    Outputs next(void* mean) { return {mean, binary() ? nullptr : values_, bits(), nullptr}; }
    void write_back() const {
        if (binary()) unpack_bits(bits_.data(), count_, r_.visibles, values_, r_.dtype);
    }

  private:
    const Rbm& r_;
    void* values_;
    int64_t count_;
    std::vector<uint32_t> bits_;
};

// Entries that keep the value they have at first.
template <class T>
class Clamp {
  public:
    Clamp(const uint8_t* mask, int64_t count, int64_t n, const T* values) : mask_(mask), count_(count), n_(n) {
        if (mask) kept_.assign(values, values + count * n);
    }
    void hold(T* values) const {
        if (!mask_ || !values) return;
        for (int64_t i = 0; i < count_ * n_; ++i)
            if (mask_[i]) values[i] = kept_[size_t(i)];
    }
    void hold(uint32_t* bits) const {
        if (!mask_) return;
        for (int64_t i = 0; i < count_; ++i)
            for (int64_t j = 0; j < n_; ++j)
                if (mask_[i * n_ + j]) {
                    uint32_t& word = bits[i * bit_words(n_) + j / 32];
                    const uint32_t bit = 1u << j % 32;
                    word = kept_[size_t(i * n_ + j)] != T(0) ? word | bit : word & ~bit;
                }
    }

  private:
    const uint8_t* mask_;
    int64_t count_, n_;
    std::vector<T> kept_;
};

}  // namespace

void Rbm::gibbs(void* states, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
                const std::function<bool(int64_t)>& tick) {
    by_dtype(dtype, [&]<class T>(T) {
        T *values = static_cast<T*>(states), *means = static_cast<T*>(mean);
        Array totals;
        sum_counts({count, values, visibles}, nullptr, count, totals);
        VisibleChains v(*this, values, count);
        const Clamp<T> clamped(clamp, count, visibles, values);
        States h(hidden, count, dtype);
        for (int64_t s = 0; s < steps; ++s) {
            const bool last = s + 1 == steps;
            hidden_given_visible(v.left(), count, h.samples(), {draw_seed, uint32_t(s), kSampling + kHidden, 0},
                                 totals.data());
            visible_given_hidden(h.left(), count, v.next(last ? mean : nullptr),
                                 {draw_seed, uint32_t(s), kSampling + kVisible, 0}, totals.data());
            v.binary() ? clamped.hold(v.bits()) : clamped.hold(values);
            if (last) clamped.hold(means);
            if (!tick(s + 1)) break;
        }
        v.write_back();
    });
}

void Rbm::anneal(void* v, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                 uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    by_dtype(dtype, [&]<class T>(T) {
        anneal_as<T>(static_cast<T*>(v), count, betas, n, static_cast<const T*>(base_bias), log_weight, draw_seed,
                     tick);
    });
}

template <class T>
void Rbm::anneal_as(T* values, int64_t count, const double* betas, int64_t n, const T* base_bias, double* log_weight,
                    uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    Array totals;
    sum_counts({count, values, visibles}, nullptr, count, totals);
    VisibleChains v(*this, values, count);
    States h(hidden, count, dtype);
    std::vector<T> log_z(static_cast<size_t>(count)), hidden_bias(static_cast<size_t>(hiddens)),
        visible_bias(static_cast<size_t>(visibles));
    const T *a = visible_bias_.as<T>(), *b = hidden_bias_.as<T>();
    // Gaussian visibles keep mean and variance along the path; the other biases are interpolated
    std::vector<T> base(base_bias, base_bias + visibles);
    for (const Segment& s : visible.segments)
        if (s.unit == Unit::gaussian) std::copy(a + s.begin, a + s.end, base.begin() + s.begin);
    // the states times the biases' difference along the path
    const auto linear = [&](int64_t c) {
        double sum = 0;
        const auto add = [&](int64_t i, double x) { sum += x * double(a[i] - base[size_t(i)]); };
        if (v.binary()) {
            const uint32_t* row = v.bits() + c * bit_words(visibles);
            for (int64_t w = 0; w < bit_words(visibles); ++w)
                for (uint32_t m = row[w]; m; m &= m - 1) add(w * 32 + __builtin_ctz(m), 1);
        } else {
            for (int64_t i = 0; i < visibles; ++i) add(i, double(values[c * visibles + i]));
        }
        return sum;
    };
    for (int64_t t = 1; t < n; ++t) {
        const double from = betas[t - 1], to = betas[t];
        // The pre-activations x do not depend on the temperature: one product gives the weight's
        // A(to x) - A(from x) and the sample at `to`. At 0 there is nothing to scale by.
        const double scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        const double sign = to > 0 ? 1 : -1;
        for (int64_t j = 0; j < hiddens; ++j) hidden_bias[size_t(j)] = T(scale) * b[j];
        std::fill(log_z.begin(), log_z.end(), T(0));
        const uint32_t draw_step = uint32_t(t);
        Outputs out = to > 0 ? h.samples() : Outputs{};
        out.log_partition = log_z.data();
        hidden_step(v.left(), count, hidden_bias.data(), scale, ratio, out,
                    {draw_seed, draw_step, kAnnealing + kHidden, 0}, totals.data());
        for (int64_t c = 0; c < count; ++c)
            log_weight[c] += sign * double(log_z[size_t(c)]) + (visible.gaussian() ? 0 : (to - from) * linear(c));
        if (to > 0) {
            for (int64_t i = 0; i < visibles; ++i)
                visible_bias[size_t(i)] = T((1 - to) * double(base[size_t(i)]) + to * double(a[i]));
            visible_step(h.left(), count, visible_bias.data(), to, v.next(nullptr),
                         {draw_seed, draw_step, kAnnealing + kVisible, 0}, totals.data());
        }
        if (!tick(t)) break;
    }
    v.write_back();
}

}  // namespace unsupfast
