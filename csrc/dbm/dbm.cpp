// Half-steps of layers with two neighbours, and the fixed point of mean field.
#include "dbm/dbm.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "kernels/batch/op.h"
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

void Dbm::follow(Array& now, Array& before, int64_t rows, int64_t n, void* change) {
    each(Elementary::sub, rows * n, now, before.data(), 0, before.data());
    each(Elementary::abs, rows * n, before, nullptr, 0, before.data());
    run(Reduce{Reduction::max, rows, n, 1, before.data(), 1, change, dtype}, device);
    std::swap(now, before);
}

std::vector<double> Dbm::changes(int64_t layers, int64_t rows) const {
    std::vector<double> largest(size_t(rows), 0);
    by_dtype(dtype, [&]<class T>(T) {
        std::vector<T> found(size_t(layers * rows));
        copy_memory({}, found.data(), device, change_.data(), found.size() * sizeof(T));
        for (size_t i = 0; i < found.size(); ++i) {
            double& most = largest[i % size_t(rows)];
            most = std::max(most, double(found[i]));
        }
    });
    return largest;
}

void Dbm::take(const void* values, int64_t n, const int64_t* index, int64_t count, void* to) const {
    run(TakeRows{count, n, Left{values, n, 1}, index, to, nullptr, Corruption::none, 0, {}, dtype}, device);
}

int64_t Dbm::mean_field(const Left& v, int64_t count, const std::vector<void*>& means, const MeanField& options,
                        void* log_partition) {
    const int64_t size = element_size(dtype);
    std::vector<Left> states{v};
    at_work_.resize(size_t(depth + 1));
    at_rest_.resize(size_t(depth + 1));
    int64_t widest = 0;
    for (int64_t i = 1; i <= depth; ++i) widest = std::max(widest, width(i));
    for (Array* a : {&fresh_, &below_}) a->reserve(dtype, count * widest, device);  // any two may be exchanged
    for (int64_t i = 1; i <= depth; ++i) {
        at_work_[size_t(i)].reserve(dtype, count * widest, device);
        at_rest_[size_t(i)].reserve(dtype, count * width(i), device);
        states.push_back({at_work_[size_t(i)].data(), width(i), 1});
    }
    index_.reserve(DType::f64, count, device);
    change_.reserve(dtype, count * ((depth + 1) / 2), device);
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
    run(first, device);
    for (int64_t i = 2; i <= depth; ++i)
        links[size_t(i - 1)]->hidden_step(states[size_t(i - 1)], count, bias(i).data(), i < depth ? 2 : 1, -1,
                                          {at_work_[size_t(i)].data()}, {}, nullptr);

    // Rows at work are fewer and fewer, side by side; those at rest follow each other as they came to it.
    std::vector<int64_t> rows(static_cast<size_t>(count)), place(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), 0);
    const int64_t odd = depth > 1 ? (depth + 1) / 2 : 0;  // layers; a single one starts at its fixed point
    int64_t made = 0, rested = 0;
    for (int64_t sweep = 1; !rows.empty(); ++sweep) {
        const int64_t m = int64_t(rows.size());
        made += m;
        for (int64_t j = 0; j < odd; ++j) {
            const int64_t i = 2 * j + 1;
            half_step(i, states, m, bias(i).data(), 1, -1, {fresh_.data()}, {}, i == 1 ? below_.data() : nullptr);
            follow(fresh_, at_work_[size_t(i)], m, width(i), change_.as<char>() + j * m * size);
            states[size_t(i)].data = at_work_[size_t(i)].data();
        }
        const std::vector<double> change = changes(odd, m);
        std::vector<int64_t> index(rows.size());  // of rows that have come to rest, then of the others
        std::iota(index.begin(), index.end(), 0);
        const auto moving = std::stable_partition(index.begin(), index.end(), [&](int64_t b) {
            return sweep >= options.most || !(change[size_t(b)] > options.tolerance);
        });
        const int64_t done = moving - index.begin(), left = m - done;
        if (done > 0) {
            copy_memory(device, index_.data(), {}, index.data(), size_t(m) * 8);
            for (int64_t i = 1; i <= depth; ++i)
                take(at_work_[size_t(i)].data(), width(i), index_.as<int64_t>(), done,
                     at_rest_[size_t(i)].as<char>() + rested * width(i) * size);
            for (int64_t b = 0; b < done; ++b) place[size_t(rows[size_t(index[size_t(b)])])] = rested++;
            const auto move_up = [&](Array& values, int64_t n) {
                take(values.data(), n, index_.as<int64_t>() + done, left, fresh_.data());
                std::swap(values, fresh_);
            };
            move_up(below_, width(1));
            for (int64_t i = 1; i <= depth; ++i) {
                move_up(at_work_[size_t(i)], width(i));
                states[size_t(i)].data = at_work_[size_t(i)].data();
            }
            for (int64_t b = 0; b < left; ++b) rows[size_t(b)] = rows[size_t(index[size_t(done + b)])];
            rows.resize(size_t(left));
        }
        for (int64_t i = 2; i <= depth && left > 0; i += 2)
            half_step(i, states, left, bias(i).data(), 1, -1, {at_work_[size_t(i)].data()}, {});
    }
    copy_memory(device, index_.data(), {}, place.data(), size_t(count) * 8);
    for (int64_t i = 1; i <= depth; ++i)
        take(at_rest_[size_t(i)].data(), width(i), index_.as<int64_t>(), count, means[size_t(i)]);
    if (log_partition) {
        for (int64_t i = 1; i <= depth; ++i) states[size_t(i)].data = means[size_t(i)];
        clear_memory(device, log_partition, size_t(count * size));
        for (int64_t i = 1; i <= depth; i += 2)
            half_step(i, states, count, bias(i).data(), 1, -1, {means[size_t(i)], nullptr, nullptr, log_partition}, {});
    }
    return made;
}

}  // namespace unsupfast
