// A sweep of tempered chains. Products do not depend on the temperature: two are for all chains, the rest goes
// temperature by temperature.
#include "rbm/tempering.h"

#include "kernels/exchange/op.h"

namespace unsupfast {
namespace {

std::vector<double> complement(std::vector<double> values) {
    for (double& x : values) x = 1 - x;
    return values;
}

}  // namespace

Tempering::Tempering(Rbm& r, const TrainOptions& o)
    : r_(r),
      levels_(int64_t(o.temperatures.size())),
      chains_(r.chains.count() / levels_),
      temperatures_(o.temperatures),
      path_(r, in_dtype(o.base_bias, r.dtype, {}).data()),
      betas_(in_dtype(temperatures_, r.dtype, r.device)),
      rest_(in_dtype(complement(temperatures_), r.dtype, r.device)),
      visible_(r.visible, r.chains.count(), r.dtype, r.device) {
    const auto array = [&](int64_t n) { return Array(r.dtype, n, r.device); };
    const int64_t rows = levels_ * chains_;
    visible_biases_ = array(levels_ * r.visibles);
    part_ = array(levels_ * r.visibles);
    hidden_biases_ = array(levels_ * r.hiddens);
    visible_fields_ = array(rows * r.visibles);
    hidden_fields_ = array(rows * r.hiddens);
    log_z_ = array(rows);
    log_ratio_ = Array(DType::f64, rows, r.device);
    tally_ = Array(DType::f64, 2 * (levels_ - 1), r.device);
}

void Tempering::interpolate(int64_t n, const Array& x, const Array* base, const Array& out) {
    Elementwise p{};
    p.f = Elementary::mul;
    p.extent[0] = p.extent[1] = 1;
    p.extent[2] = levels_;
    p.extent[3] = n;
    p.a_stride[2] = p.b_stride[3] = 1;
    p.dtype = r_.dtype;
    p.a = betas_.data();
    p.b = x.data();
    p.y = out.data();
    run(p, r_.device);
    if (!base) return;
    p.a = rest_.data();
    p.b = base->data();
    p.y = part_.data();
    run(p, r_.device);
    each(Elementary::add, levels_ * n, out, part_.data(), 0, out.data());
}

void Tempering::follow() {
    path_.follow();
    interpolate(r_.visibles, r_.visible_bias_, &path_.base(), visible_biases_);
    interpolate(r_.hiddens, r_.hidden_bias_, nullptr, hidden_biases_);
}

void Tempering::sweep(const Clock& clock, uint64_t step, bool odd, void* mean) {
    const int64_t V = r_.visibles, H = r_.hiddens, C = chains_, rows = levels_ * C;
    const bool counts = r_.visible.has(Unit::multinomial);
    const auto totals = [&](int64_t t) { return counts ? at(r_.chain_totals, t * C) : nullptr; };
    const auto draws = [&](uint32_t stream, int64_t t) {
        Draw d = clock.draw(r_.seed, step, stream);
        d.first_row = uint32_t(t * C);
        return d;
    };
    Array plain;
    HalfStep down = r_.visible_product(r_.chains.left(), rows, plain);
    r_.product(down, visible_fields_.data());
    down.m = C;
    for (int64_t t = 0; t < levels_; ++t) {
        down.scale = temperatures_[size_t(t)];
        down.bias = at(visible_biases_, t * V);
        down.draw = draws(kVisible, t);
        r_.by_segments(r_.visible, down, at(visible_fields_, t * C * V), visible_.samples(t * C), nullptr, totals(t),
                       r_.visible_shape);
    }

    HalfStep up = r_.hidden_product(visible_.left(), rows);
    r_.product(up, hidden_fields_.data());
    log_z_.zero();
    log_ratio_.zero();
    up.m = 2 * C;  // the states of both temperatures of a pair weigh by the ratio of the same two machines
    for (int64_t t = odd; t + 1 < levels_; t += 2) {
        const double from = temperatures_[size_t(t)], to = temperatures_[size_t(t) + 1];
        up.scale = to;
        up.ratio = from / to;
        up.bias = at(hidden_biases_, (t + 1) * H);
        Outputs out;
        out.log_partition = at(log_z_, t * C);
        r_.by_segments(r_.hidden, up, at(hidden_fields_, t * C * H), out, totals(t), nullptr, r_.hidden_shape);
        path_.weigh(visible_.left(t * C), 2 * C, from, to, 1, out.log_partition, log_ratio_.as<double>() + t * C);
    }
    const int64_t size = element_size(r_.dtype) / 4;
    ExchangeStates trade{levels_, C, odd, log_ratio_.as<double>(), {}, {}, tally_.as<int64_t>(), draws(kSwap, 0)};
    const Outputs states = visible_.samples();
    trade.rows[0] = states.bits ? states.bits : static_cast<uint32_t*>(states.sample);
    trade.words[0] = states.bits ? bit_words(V) : V * size;
    trade.rows[1] = hidden_fields_.as<uint32_t>();
    trade.words[1] = H * size;
    run(trade, r_.device);

    up.m = C;
    up.ratio = -1;
    for (int64_t t = 0; t < levels_; ++t) {
        up.scale = temperatures_[size_t(t)];
        up.bias = at(hidden_biases_, t * H);
        up.draw = draws(kHidden, t);
        Outputs out = r_.chains.samples(t * C);
        if (t + 1 == levels_) out.mean = mean;
        r_.by_segments(r_.hidden, up, at(hidden_fields_, t * C * H), out, totals(t), nullptr, r_.hidden_shape);
    }
}

void Tempering::report() const {
    std::vector<int64_t> counted(size_t(tally_.size()));
    copy_memory({}, counted.data(), r_.device, tally_.data(), tally_.bytes());
    r_.swaps.resize(counted.size());
    for (size_t i = 0; i < counted.size(); ++i) r_.swaps[i] += double(counted[i]);
}

}  // namespace unsupfast
