// Long chains of a deep machine from given states: Gibbs sampling and annealing.
#include "dbm/dbm.h"

#include <stdexcept>

#include "kernels/contrast/op.h"
#include "rbm/clamp.h"
#include "rbm/step.h"

namespace unsupfast {
namespace {

constexpr const char* kNoStates = "chains start from states of the units: 0 or 1 where they are binary";

}  // namespace

void Dbm::gibbs(void* even, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
                const std::function<bool(int64_t)>& tick) {
    // The visible layer as values, which a clamp may hold between 0 and 1.
    const int64_t V = width(0), all = units(0), size = element_size(dtype);
    const Array on_cpu(dtype, count * V), values(dtype, count * V, device);
    const Array means(dtype, steps > 0 && mean ? count * V : 0, device);
    const auto each_row = [&](auto&& f) {
        for (int64_t b = 0; b < count; ++b)
            f(static_cast<char*>(even) + b * all * size, on_cpu.as<char>() + b * V * size);
    };
    each_row([&](char* row, char* own) {
        std::memcpy(own, row, size_t(V * size));
        std::memset(row, 0, size_t(V * size));  // states of the others
    });
    copy_memory(device, values.data(), {}, on_cpu.data(), values.bytes());
    const Clamp clamped(*links[0], clamp, count * V, values.data());
    std::vector<States> evens = split(even, count, 0), odds;
    if (evens.empty()) throw std::invalid_argument(kNoStates);
    for (int64_t i = 1; i <= depth; i += 2) odds.emplace_back(layer(i), count, dtype, device);
    std::vector<Left> states;
    for (int64_t i = 0; i <= depth; ++i) states.push_back((i % 2 ? odds : evens)[size_t(i / 2)].left());
    states[0] = {values.data(), V, 1};

    int64_t s = 0;
    for (bool go_on = true; s < steps && go_on; ++s) {
        const auto draw = [&](int64_t i) { return Draw{draw_seed, uint32_t(s), kDeepSampling + uint32_t(i), 0}; };
        for (int64_t i = 1; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, odds[size_t(i / 2)].samples(), draw(i));
        const bool last = s + 1 == steps && mean;
        half_step(0, states, count, bias(0).data(), 1, -1, {last ? means.data() : nullptr, values.data()}, draw(0));
        clamped.hold(values.data());
        for (int64_t i = 2; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, evens[size_t(i / 2)].samples(), draw(i));
        go_on = tick(s + 1);
    }
    if (mean && steps > 0 && s == steps) {
        clamped.hold(means.data());
        copy_memory({}, mean, device, means.data(), means.bytes());
    }
    join(evens, 0, even);
    copy_memory({}, on_cpu.data(), device, values.data(), values.bytes());
    each_row([&](char* row, char* own) { std::memcpy(row, own, size_t(V * size)); });
}

void Dbm::anneal(void* even, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                 uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    std::vector<States> evens = split(even, count, 0), odds;
    if (evens.empty()) throw std::invalid_argument(kNoStates);
    for (int64_t i = 1; i <= depth; i += 2) odds.emplace_back(layer(i), count, dtype, device);
    std::vector<Left> states;
    for (int64_t i = 0; i <= depth; ++i) states.push_back((i % 2 ? odds : evens)[size_t(i / 2)].left());
    const auto array = [&](int64_t size) { return Array(dtype, size, device); };
    const Array log_z = array(count), weights(DType::f64, count, device);
    copy_memory(device, weights.data(), {}, log_weight, weights.bytes());
    std::vector<Array> base, shift, at;  // base and shift of even layers
    int64_t first = 0;
    for (int64_t i = 0; i <= depth; ++i) {
        at.push_back(array(width(i)));
        base.push_back(array(width(i)));
        shift.push_back(array(width(i)));
        if (i % 2) continue;
        const int64_t size = element_size(dtype);
        copy_memory(device, base.back().data(), {}, static_cast<const char*>(base_bias) + first * size,
                    base.back().bytes());
        // Gaussian visibles keep mean and variance along the path
        for (const Segment& s : layer(i).segments)
            if (s.unit == Unit::gaussian)
                copy_memory(device, base.back().as<char>() + s.begin * size, device,
                            bias(i).as<char>() + s.begin * size, size_t(s.size() * size));
        each(Elementary::sub, width(i), bias(i), base.back().data(), 0, shift.back().data());
        first += width(i);
    }

    bool go_on = true;
    for (int64_t t = 1; t < n && go_on; ++t) {
        // As in Rbm::anneal: the odd layers are summed over, the even ones are where chains are.
        const double from = betas[t - 1], to = betas[t], scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        const auto draw = [&](int64_t i) { return Draw{draw_seed, uint32_t(t), kDeepAnnealing + uint32_t(i), 0}; };
        clear_memory(device, log_z.data(), log_z.bytes());
        for (int64_t i = 1; i <= depth; i += 2) {
            each(Elementary::mul, width(i), bias(i), nullptr, scale, at[size_t(i)].data());
            Outputs out = to > 0 ? odds[size_t(i / 2)].samples() : Outputs{};
            out.log_partition = log_z.data();
            half_step(i, states, count, at[size_t(i)].data(), scale, ratio, out, draw(i));
        }
        for (int64_t i = 0; i <= depth; i += 2)
            run(WeighAnnealed{count, width(i), states[size_t(i)], i ? nullptr : log_z.data(), shift[size_t(i)].data(),
                              to > 0 ? 1. : -1., to - from, weights.as<double>(), dtype},
                device);
        for (int64_t i = 0; i <= depth && to > 0; i += 2) {
            const Array& b = at[size_t(i)];
            each(Elementary::mul, width(i), shift[size_t(i)], nullptr, to, b.data());
            each(Elementary::add, width(i), b, base[size_t(i)].data(), 0, b.data());
            half_step(i, states, count, b.data(), to, -1, evens[size_t(i / 2)].samples(), draw(i));
        }
        go_on = tick(t);
    }
    copy_memory({}, log_weight, device, weights.data(), weights.bytes());
    join(evens, 0, even);
}

}  // namespace unsupfast
