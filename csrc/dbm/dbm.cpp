// Half-steps of layers with two neighbours, and the fixed point of mean field.
#include "dbm/dbm.h"

#include <algorithm>
#include <stdexcept>

#include "rbm/step.h"

namespace unsupfast {

Dbm::Dbm(const std::vector<Layer>& layers, DType dtype_, DType format, Device device_)
    : depth(int64_t(layers.size()) - 1), dtype(dtype_), device(device_) {
    if (depth < 1 || depth > kMaxDepth) throw std::invalid_argument("a deep machine has 1 to 63 hidden layers");
    for (int64_t i = 1; i <= depth; ++i) {
        if (!layers[size_t(i)].binary()) throw std::invalid_argument("hidden layers of a deep machine are Bernoulli");
        links.push_back(std::make_unique<Rbm>(layers[size_t(i - 1)], layers[size_t(i)], dtype, format, device));
    }
}

int64_t Dbm::units(int64_t parity) const {
    int64_t n = 0;
    for (int64_t i = parity; i <= depth; i += 2) n += width(i);
    return n;
}

std::vector<States> Dbm::split(const void* joined, int64_t count, int64_t parity) const {
    const int64_t size = element_size(dtype), all = units(parity);
    std::vector<States> out;
    int64_t at = 0;
    for (int64_t i = parity; i <= depth; i += 2) {
        const int64_t n = width(i);
        const Array own(dtype, count * n);
        for (int64_t b = 0; b < count; ++b)
            std::memcpy(own.as<char>() + b * n * size, static_cast<const char*>(joined) + (b * all + at) * size,
                        size_t(n * size));
        States states(layer(i), count, dtype, device);
        if (!states.set(own.data())) return {};
        out.push_back(std::move(states));
        at += n;
    }
    return out;
}

void Dbm::join(const std::vector<States>& states, int64_t parity, void* joined) const {
    const int64_t size = element_size(dtype), all = units(parity);
    int64_t at = 0;
    for (int64_t i = parity; i <= depth; i += 2) {
        const int64_t n = width(i), count = states[size_t(i / 2)].count();
        const Array own(dtype, count * n);
        states[size_t(i / 2)].get(own.data());
        for (int64_t b = 0; b < count; ++b)
            std::memcpy(static_cast<char*>(joined) + (b * all + at) * size, own.as<char>() + b * n * size,
                        size_t(n * size));
        at += n;
    }
}

bool Dbm::set_chains(const void* joined, int64_t count) {
    std::vector<States> fresh = split(joined, count, 1);
    if (fresh.empty()) return false;
    chains = std::move(fresh);
    return true;
}

void Dbm::get_chains(void* joined) const {
    if (!chains.empty()) join(chains, 1, joined);
}

void Dbm::half_step(int64_t i, const std::vector<Left>& states, int64_t count, const void* bias, double scale,
                    double ratio, const Outputs& out, const Draw& draw, const void* below) {
    if (i == depth)
        return links[size_t(i - 1)]->hidden_step(states[size_t(i - 1)], count, bias, scale, ratio, out, draw, nullptr);
    if (i > 0 && !below) {
        field_.reserve(dtype, count * width(i), device);
        links[size_t(i - 1)]->field_of_visibles(states[size_t(i - 1)], count, field_.data());
        below = field_.data();
    }
    links[size_t(i)]->visible_step(states[size_t(i + 1)], count, bias, scale, ratio, out, draw, nullptr, below);
}

int64_t Dbm::mean_field(const Left& v, int64_t count, const std::vector<void*>& means, const MeanField& options,
                        void* log_partition) {
    std::vector<Left> states{v};
    for (int64_t i = 1; i <= depth; ++i) states.push_back({means[size_t(i)], width(i), 1});

    // What comes in from the data stays the same.
    below_.reserve(dtype, count * width(1), device);
    links[0]->field_of_visibles(v, count, below_.data());
    Conditional first{};
    first.m = count;
    first.n = first.field_stride = first.out_stride = width(1);
    first.unit = Unit::bernoulli;
    first.group = 1;
    first.field = below_.data();
    first.bias = bias(1).data();
    first.scale = depth > 1 ? 2 : 1;
    first.ratio = -1;
    first.mean = means[1];
    first.dtype = dtype;
    run(first, device);
    for (int64_t i = 2; i <= depth; ++i)
        links[size_t(i - 1)]->hidden_step(states[size_t(i - 1)], count, bias(i).data(), i < depth ? 2 : 1, -1,
                                          {means[size_t(i)]}, {}, nullptr);

    const auto changed = [&](int64_t i) {
        const int64_t n = count * width(i);
        each(Elementary::sub, n, fresh_.data(), means[size_t(i)], 0, means[size_t(i)], dtype, device);
        each(Elementary::abs, n, means[size_t(i)], nullptr, 0, means[size_t(i)], dtype, device);
        change_.reserve(dtype, 1, device);
        run(Reduce{Reduction::max, 1, n, 1, means[size_t(i)], 1, change_.data(), dtype}, device);
        copy_memory(device, means[size_t(i)], device, fresh_.data(), size_t(n * element_size(dtype)));
        return by_dtype(dtype, [&]<class T>(T) {
            T largest = 0;
            copy_memory({}, &largest, device, change_.data(), sizeof largest);
            return double(largest);
        });
    };
    int64_t sweep = depth > 1 && count ? 1 : options.most;
    for (;; ++sweep) {
        double most = 0;
        for (int64_t i = 1; i <= depth && depth > 1 && count; i += 2) {
            fresh_.reserve(dtype, count * width(i), device);
            half_step(i, states, count, bias(i).data(), 1, -1, {fresh_.data()}, {}, i == 1 ? below_.data() : nullptr);
            most = std::max(most, changed(i));
        }
        if (sweep >= options.most || !(most > options.tolerance)) break;
        for (int64_t i = 2; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, {means[size_t(i)]}, {});
    }
    if (log_partition) {
        clear_memory(device, log_partition, size_t(count * element_size(dtype)));
        for (int64_t i = 1; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, {means[size_t(i)], nullptr, nullptr, log_partition}, {},
                      i == 1 ? below_.data() : nullptr);
    }
    return depth > 1 && count ? sweep : 1;
}

}  // namespace unsupfast
