// Long chains from given states: Gibbs sampling and annealing.
#include <algorithm>

#include "kernels/layout/op.h"
#include "rbm/clamp.h"
#include "rbm/path.h"

namespace unsupfast {
namespace {

// Visible states of chains that come from the caller's values on the CPU and go back there; they are kept as bits while
// all are 0 or 1.
class VisibleChains {
  public:
    VisibleChains(const Rbm& r, void* values, int64_t count, bool as_bits = true)
        : r_(r), on_cpu_(values), count_(count) {
        const int64_t V = r.visibles;
        if (as_bits && r.visible.binary()) {
            Array packed = words(count * bit_words(V), {});
            int32_t other = 0;
            run(PackBits{count, V, values, V, nullptr, packed.as<uint32_t>(), &other, r.dtype});
            binary_ = !other;
            if (binary_) store_ = words(count * bit_words(V), r.device);
            if (binary_) copy_memory(r.device, store_.data(), {}, packed.data(), packed.bytes());
        }
        if (binary_) return;
        store_ = Array(r.dtype, count * V, r.device);
        copy_memory(r.device, store_.data(), {}, values, store_.bytes());
    }
    bool binary() const { return binary_; }
    uint32_t* bits() { return binary_ ? store_.as<uint32_t>() : nullptr; }
    const Array& store() const { return store_; }
    void* values() { return binary_ ? nullptr : store_.data(); }
    Left left() const {
        return binary_ ? bit_rows(store_.as<uint32_t>(), r_.visibles) : Left{store_.data(), r_.visibles, 1};
    }
    // Where a half-step leaves the next states.
    Outputs next(void* mean) { return {mean, values(), bits(), nullptr}; }
    void write_back() const {
        if (!binary_) return copy_memory({}, on_cpu_, r_.device, store_.data(), store_.bytes());
        unpack_bits(store_.as<uint32_t>(), count_, r_.visibles, on_cpu_, r_.dtype, r_.device);
    }

  private:
    const Rbm& r_;
    void* on_cpu_;
    int64_t count_;
    bool binary_ = false;
    Array store_;
};

constexpr int64_t kTogether = 500;  // alternations of one kernel, between two looks at the clock

}  // namespace

// Measured on an H200, 784 x 500: chains that run all at a time are faster from the second alternation on, others where
// there is time to deal them out.
bool Rbm::chain_pays(int64_t count, int64_t steps) const {
    constexpr int64_t kAtATime = 960, kShort = 2, kLong = 20;
    if (!device.is_gpu() || !visible.binary() || !hidden.binary() || dtype != DType::f32 || format == DType::i16 ||
        up != 1 || down != 1)
        return false;
    if (!chain_fits_cuda || !chain_fits_cuda(visibles, hiddens, format)) return false;
    return steps >= (count <= kAtATime ? kShort : kLong);
}

// A chain from visible states.
GibbsChain Rbm::visible_chain(const Array& bits, int64_t count) const {
    GibbsChain p{};
    p.m = count;
    p.near = visibles;
    p.far = hiddens;
    p.near_bits = bits.as<uint32_t>();
    p.to_far = format == dtype ? weights_.data() : to_hidden_.data();
    p.to_near = to_visible_.data();
    p.near_bias = visible_bias_.data();
    p.far_bias = hidden_bias_.data();
    p.dtype = dtype;
    p.format = format;
    return p;
}

void Rbm::gibbs(void* states, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
                const std::function<bool(int64_t)>& tick) {
    VisibleChains v(*this, states, count, !clamp);
    Array totals;
    sum_counts(v.left(), count, totals);
    const Clamp clamped(*this, clamp, count * visibles, v.values());
    States h(hidden, count, dtype, device);
    const Array means(dtype, steps > 0 && mean ? count * visibles : 0, device);
    int64_t s = 0;
    bool go_on = true;
    if (v.binary() && chain_pays(count, steps)) {
        GibbsChain p = visible_chain(v.store(), count);
        p.near_mean = mean ? means.data() : nullptr;
        p.seed = draw_seed;
        p.near_stream = kSampling + kVisible;
        p.far_stream = kSampling + kHidden;
        for (; s < steps && go_on; go_on = tick(s)) {
            p.first_step = uint32_t(s);
            p.steps = std::min(kTogether, steps - s);
            run(p, device);
            s += p.steps;
        }
    }
    for (; s < steps && go_on; ++s) {
        const bool last = s + 1 == steps;
        hidden_given_visible(v.left(), count, h.samples(), {draw_seed, uint32_t(s), kSampling + kHidden, 0},
                             totals.data());
        visible_given_hidden(h.left(), count, v.next(last && mean ? means.data() : nullptr),
                             {draw_seed, uint32_t(s), kSampling + kVisible, 0}, totals.data());
        clamped.hold(v.values());
        go_on = tick(s + 1);
    }
    if (mean && steps > 0 && s == steps) {
        clamped.hold(means.data());
        copy_memory({}, mean, device, means.data(), means.bytes());
    }
    v.write_back();
}

void Rbm::anneal(void* v_on_cpu, int64_t count, const double* betas, int64_t n, const void* base_bias,
                 double* log_weight, uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    VisibleChains v(*this, v_on_cpu, count);
    Array totals;
    sum_counts(v.left(), count, totals);
    States h(hidden, count, dtype, device);
    const auto array = [&](int64_t size) { return Array(dtype, size, device); };
    const Array log_z = array(count), at_hidden = array(hiddens), at_visible = array(visibles), part = array(visibles);
    const Array weights(DType::f64, count, device);
    copy_memory(device, weights.data(), {}, log_weight, weights.bytes());
    const Path path(*this, base_bias);
    int64_t t = 1;
    bool go_on = true;
    if (v.binary() && chain_pays(count, n)) {
        const Array on_device(DType::f64, n, device);
        upload(on_device, betas);
        GibbsChain p = visible_chain(v.store(), count);
        p.seed = draw_seed;
        p.near_stream = kAnnealing + kVisible;
        p.far_stream = kAnnealing + kHidden;
        p.base_bias = path.base().data();
        p.log_weight = weights.as<double>();
        for (; t < n && go_on; go_on = tick(t - 1)) {
            p.betas = on_device.as<double>() + t - 1;
            p.first_step = uint32_t(t);
            p.steps = std::min(kTogether, n - t);
            run(p, device);
            t += p.steps;
        }
    }
    for (; t < n && go_on; ++t) {
        const double from = betas[t - 1], to = betas[t];
        // The pre-activations x do not depend on the temperature: one product gives the weight's
        // A(to x) - A(from x) and the sample at `to`. At 0 there is nothing to scale by.
        const double scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        each(Elementary::mul, hiddens, hidden_bias_, nullptr, scale, at_hidden.data());
        clear_memory(device, log_z.data(), log_z.bytes());
        const uint32_t draw_step = uint32_t(t);
        Outputs out = to > 0 ? h.samples() : Outputs{};
        out.log_partition = log_z.data();
        hidden_step(v.left(), count, at_hidden.data(), scale, ratio, out,
                    {draw_seed, draw_step, kAnnealing + kHidden, 0}, totals.data());
        path.weigh(v.left(), count, from, to, to > 0 ? 1. : -1., log_z.data(), weights.as<double>());
        if (to > 0) {
            each(Elementary::mul, visibles, visible_bias_, nullptr, to, at_visible.data());
            each(Elementary::mul, visibles, path.base(), nullptr, 1 - to, part.data());
            each(Elementary::add, visibles, at_visible, part.data(), 0, at_visible.data());
            visible_step(h.left(), count, at_visible.data(), to, -1, v.next(nullptr),
                         {draw_seed, draw_step, kAnnealing + kVisible, 0}, totals.data());
        }
        go_on = tick(t);
    }
    copy_memory({}, log_weight, device, weights.data(), weights.bytes());
    v.write_back();
}

}  // namespace unsupfast
