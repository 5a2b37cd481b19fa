// Half-steps of layers with two neighbours, and the fixed point of mean field.
#include "dbm/dbm.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "rbm/step.h"

namespace unsupfast {

Dbm::Dbm(const std::vector<Layer>& layers, DType dtype_, DType format)
    : depth(int64_t(layers.size()) - 1), dtype(dtype_) {
    if (depth < 1 || depth > kMaxDepth) throw std::invalid_argument("a deep machine has 1 to 63 hidden layers");
    for (int64_t i = 1; i <= depth; ++i) {
        if (!layers[size_t(i)].binary()) throw std::invalid_argument("hidden layers of a deep machine are Bernoulli");
        links.push_back(std::make_unique<Rbm>(layers[size_t(i - 1)], layers[size_t(i)], dtype, format));
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
        States states(layer(i), count, dtype);
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
        field_.reserve(dtype, count * width(i));
        links[size_t(i - 1)]->field_of_visibles(states[size_t(i - 1)], count, field_.data());
        below = field_.data();
    }
    links[size_t(i)]->visible_step(states[size_t(i + 1)], count, bias, scale, ratio, out, draw, nullptr, below);
}

// The largest change of each row's values from `before`, which then has `now`, where larger than what was found.
void Dbm::add_change(const Array& now, const Array& before, int64_t rows, int64_t n, std::vector<double>& change) {
    each(Elementary::sub, rows * n, now, before.data(), 0, before.data());
    each(Elementary::abs, rows * n, before, nullptr, 0, before.data());
    change_.reserve(dtype, rows);
    run(Reduce{Reduction::max, rows, n, 1, before.data(), 1, change_.data(), dtype});
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t b = 0; b < rows; ++b) change[size_t(b)] = std::max(change[size_t(b)], double(change_.as<T>()[b]));
    });
    std::memcpy(before.data(), now.data(), size_t(rows * n * element_size(dtype)));
}

int64_t Dbm::mean_field(const Left& v, int64_t count, const std::vector<void*>& means, const MeanField& options,
                        void* log_partition) {
    const int64_t size = element_size(dtype);
    const auto row = [&](void* values, int64_t i, int64_t b) {
        return static_cast<char*>(values) + b * width(i) * size;
    };
    // Rows at work, which are fewer and fewer; what comes in from the data stays the same.
    std::vector<int64_t> rows(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<Left> states{v};
    at_work_.resize(size_t(depth + 1));
    for (int64_t i = 1; i <= depth; ++i) {
        at_work_[size_t(i)].reserve(dtype, count * width(i));
        states.push_back({at_work_[size_t(i)].data(), width(i), 1});
    }
    below_.reserve(dtype, count * width(1));
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
    first.mean = at_work_[1].data();
    first.dtype = dtype;
    run(first);
    for (int64_t i = 2; i <= depth; ++i)
        links[size_t(i - 1)]->hidden_step(states[size_t(i - 1)], count, bias(i).data(), i < depth ? 2 : 1, -1,
                                          {at_work_[size_t(i)].data()}, {}, nullptr);

    int64_t made = 0;
    std::vector<double> change;
    for (int64_t sweep = 1; !rows.empty(); ++sweep) {
        const int64_t m = int64_t(rows.size());
        made += m;
        change.assign(rows.size(), 0);
        for (int64_t i = 1; i <= depth && depth > 1; i += 2) {
            fresh_.reserve(dtype, count * width(i));
            half_step(i, states, m, bias(i).data(), 1, -1, {fresh_.data()}, {}, i == 1 ? below_.data() : nullptr);
            add_change(fresh_, at_work_[size_t(i)], m, width(i), change);
        }
        // what has come to rest goes out, the others move up
        int64_t left = 0;
        for (int64_t b = 0; b < m; ++b) {
            const bool done = sweep >= options.most || !(change[size_t(b)] > options.tolerance);
            for (int64_t i = 1; i <= depth; ++i) {
                void* values = at_work_[size_t(i)].data();
                void* to = done ? row(means[size_t(i)], i, rows[size_t(b)]) : row(values, i, left);
                if (done || left < b) std::memcpy(to, row(values, i, b), size_t(width(i) * size));
            }
            if (done) continue;
            if (left < b) std::memcpy(row(below_.data(), 1, left), row(below_.data(), 1, b), size_t(width(1) * size));
            rows[size_t(left++)] = rows[size_t(b)];
        }
        rows.resize(size_t(left));
        for (int64_t i = 2; i <= depth; i += 2)
            half_step(i, states, left, bias(i).data(), 1, -1, {at_work_[size_t(i)].data()}, {});
    }
    if (log_partition) {
        for (int64_t i = 1; i <= depth; ++i) states[size_t(i)].data = means[size_t(i)];
        clear_memory({}, log_partition, size_t(count * size));
        for (int64_t i = 1; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, {means[size_t(i)], nullptr, nullptr, log_partition}, {});
    }
    return made;
}

}  // namespace unsupfast
