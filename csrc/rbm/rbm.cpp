// Parameters of the machine, the layouts derived from them, and the two half-steps.
#include "rbm/rbm.h"

#include "kernels/contrast/op.h"

#include <stdexcept>

namespace unsupfast {

Rbm::Rbm(Layer visible_, Layer hidden_, DType dtype_, DType format_, Device device_)
    : visible(std::move(visible_)),
      hidden(std::move(hidden_)),
      visibles(visible.size()),
      hiddens(hidden.size()),
      dtype(dtype_),
      format(format_),
      device(device_) {
    const bool shaped = visible.has(Unit::drelu) || hidden.has(Unit::drelu);
    const auto array = [&](int64_t n) { return Array(dtype, n, device); };
    visible_shape = array(2 * visibles);
    hidden_shape = array(2 * hiddens);
    velocity = array(panel_elements(dtype, visibles, hiddens));
    bias_velocity = array(2 * visibles + hiddens + (shaped ? 2 * (visibles + hiddens) : 0));
    visible_offset = array(visibles);
    hidden_offset = array(hiddens);
    weights_ = array(panel_elements(dtype, visibles, hiddens));
    if (format != dtype) to_hidden_ = Array(format, panel_elements(format, visibles, hiddens), device);
    to_visible_ = Array(format, panel_elements(format, hiddens, visibles), device);
    visible_bias_ = array(visibles);
    hidden_bias_ = array(hiddens);
    no_bias_ = array(std::max(visibles, hiddens));
    log_variance_ = array(visibles);
    precision_ = array(visibles);
    sigma_ = array(visibles);
    if (visible.has(Unit::multinomial)) counted_ = panel_of_counts();
    derive_variances();
}

// A right operand with which the product of visible states is the sum of their counts.
Array Rbm::panel_of_counts() const {
    return by_dtype(dtype, [&]<class T>(T) {
        std::vector<T> ones(static_cast<size_t>(visibles));
        for (const Segment& s : visible.segments)
            if (s.unit == Unit::multinomial) std::fill_n(ones.begin() + s.begin, s.size(), T(1));
        const Array panel(dtype, panel_elements(dtype, visibles, 1));
        run(PackPanels{visibles, 1, ones.data(), 1, 1, panel.data(), dtype, dtype});
        Array there(dtype, panel.size(), device);
        upload(there, panel.data());
        return there;
    });
}

void Rbm::derive_variances() {
    run(Variances{visibles, log_variance_.data(), precision_.data(), sigma_.data(), dtype}, device);
}

void Rbm::set_parameters(const void* weights, int64_t row_stride, int64_t col_stride, const void* visible_bias,
                         const void* hidden_bias, const void* log_variance) {
    const Array packed(dtype, weights_.size());
    run(PackPanels{visibles, hiddens, weights, row_stride, col_stride, packed.data(), dtype, dtype});
    upload(weights_, packed.data());
    upload(visible_bias_, visible_bias);
    upload(hidden_bias_, hidden_bias);
    if (log_variance) upload(log_variance_, log_variance);
    derive_variances();
    refresh(nullptr);
}

void Rbm::get_parameters(void* weights, void* visible_bias, void* hidden_bias, void* log_variance) const {
    const auto copy = [&](void* to, const Array& from) {
        if (to) copy_memory({}, to, device, from.data(), from.bytes());
    };
    if (weights) {
        const Array packed(dtype, weights_.size());
        copy(packed.data(), weights_);
        by_dtype(dtype, [&]<class T>(T) {
            for (int64_t i = 0; i < visibles; ++i)
                for (int64_t j = 0; j < hiddens; ++j)
                    static_cast<T*>(weights)[i * hiddens + j] =
                        packed.as<T>()[(j / kPanel * visibles + i) * kPanel + j % kPanel];
        });
    }
    copy(visible_bias, visible_bias_);
    copy(hidden_bias, hidden_bias_);
    copy(log_variance, log_variance_);
}

bool Rbm::set_chains(const void* states, int64_t count) {
    States fresh(hidden, count, dtype, device);
    if (!fresh.set(states)) return false;
    chains = std::move(fresh);
    return true;
}

void Rbm::sum_counts(const Left& v, int64_t count, Array& totals) const {
    if (!counted_) return;
    totals.reserve(dtype, count, device);
    run(Gemm{count, 1, visibles, v, counted_.data(), totals.data(), 1, 1, 0, dtype, dtype}, device);
}

void Rbm::refresh(int32_t* nonfinite) {
    run(TurnPanels{visibles, hiddens, weights_.data(), to_visible_.data(), to_hidden_.data(), nonfinite, dtype, format},
        device);
}

// The fused kernel where it knows the units; else the fields first, and then every segment by itself.
void Rbm::run_step(const Layer& layer, HalfStep p, const Outputs& out, const void* bias_weight, const void* totals,
                   const Array& shape) {
    const bool linear = layer.gaussian() && (p.sigma || !out.sample) && !out.log_partition;
    const bool fused = (layer.binary() || linear) && !bias_weight;
    if (fused) {
        p.unit = layer.binary() ? Unit::bernoulli : Unit::gaussian;
        p.mean = out.mean;
        p.sample = out.sample;
        p.bits = out.bits;
        p.log_partition = out.log_partition;
        run(p, device);
        return;
    }
    fields_.reserve(dtype, p.m * p.n, device);
    product(p, fields_.data());
    by_segments(layer, p, fields_.data(), out, bias_weight, totals, shape);
}

void Rbm::product(HalfStep p, void* fields) {
    p.unit = Unit::gaussian;  // whose mean is the field
    p.bias = no_bias_.data();
    p.scale = 1;
    p.ratio = -1;
    p.mean = fields;
    run(p, device);
}

void Rbm::by_segments(const Layer& layer, const HalfStep& p, const void* fields, const Outputs& out,
                      const void* bias_weight, const void* totals, const Array& shape) {
    const int64_t size = element_size(dtype);
    const auto at = [&](const void* x, int64_t i) {
        return x ? static_cast<void*>(const_cast<char*>(static_cast<const char*>(x)) + i * size) : nullptr;
    };
    void* sample = out.sample;
    if (out.bits && !sample) {
        drawn_.reserve(dtype, p.m * p.n, device);
        sample = drawn_.data();
    }
    for (const Segment& s : layer.segments) {
        Conditional c{};
        c.m = p.m;
        c.n = s.size();
        c.unit = s.unit;
        c.group = s.group;
        c.field = at(fields, s.begin);
        c.field_stride = c.out_stride = p.n;
        c.bias = at(p.bias, s.begin);
        c.bias_weight = bias_weight;
        c.totals = s.unit == Unit::multinomial ? totals : nullptr;
        if (s.unit == Unit::gaussian) c.shape[0] = at(p.sigma, s.begin);
        if (s.unit == Unit::drelu) {
            c.shape[0] = at(shape.data(), s.begin);
            c.shape[1] = at(shape.data(), p.n + s.begin);
        }
        c.scale = p.scale;
        c.ratio = p.ratio;
        c.mean = at(out.mean, s.begin);
        c.sample = at(sample, s.begin);
        c.log_partition = out.log_partition;
        c.draw = p.draw;
        c.first_unit = uint32_t(s.begin);
        c.dtype = dtype;
        run(c, device);
    }
    if (out.bits) run(PackBits{p.m, p.n, sample, p.n, nullptr, out.bits, nullptr, dtype}, device);
}

HalfStep Rbm::hidden_product(const Left& v, int64_t count) const {
    HalfStep p{};
    p.m = count;
    p.n = hiddens;
    p.k = visibles;
    p.states = v;
    if (visible.has(Unit::gaussian)) p.states.k_scale = precision_.data();
    p.weights = rounds(v) ? to_hidden_.data() : weights_.data();
    p.format = rounds(v) ? format : dtype;
    p.scale = 1;
    p.ratio = -1;
    p.dtype = dtype;
    return p;
}

void Rbm::field_of_visibles(const Left& v, int64_t count, void* out) const {
    const HalfStep p = hidden_product(v, count);
    run(Gemm{count, hiddens, visibles, p.states, p.weights, out, hiddens, 1, 0, dtype, p.format}, device);
}

void Rbm::hidden_step(const Left& v, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                      const Draw& draw, const void* totals) {
    HalfStep p = hidden_product(v, count);
    p.bias = bias;
    p.scale = scale;
    p.ratio = ratio;
    p.draw = draw;
    run_step(hidden, p, out, totals, nullptr, hidden_shape);
}

void Rbm::hidden_fields(const Left& v, int64_t count, void* fields, const void* totals) {
    HalfStep p = hidden_product(v, count);
    p.bias = hidden_bias_.data();
    const Layer linear{{{Unit::gaussian, 0, hiddens}}};  // their mean is the field
    run_step(linear, p, {fields}, totals, nullptr, hidden_shape);
}

HalfStep Rbm::visible_product(const Left& h, int64_t count, Array& plain) const {
    HalfStep p{};
    p.m = count;
    p.n = visibles;
    p.k = hiddens;
    p.states = h;
    p.weights = to_visible_.data();
    p.format = format;
    if (format == DType::i16 && !h.bits) {  // not on any path that has to be fast
        plain = Array(dtype, panel_elements(dtype, hiddens, visibles), device);
        run(TurnPanels{visibles, hiddens, weights_.data(), plain.data(), nullptr, nullptr, dtype, dtype}, device);
        p.weights = plain.data();
        p.format = dtype;
    }
    p.sigma = sigma_.data();
    p.scale = 1;
    p.ratio = -1;
    p.dtype = dtype;
    return p;
}

void Rbm::visible_step(const Left& h, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                       const Draw& draw, const void* totals, const void* field) {
    Array plain;
    HalfStep p = visible_product(h, count, plain);
    p.bias = bias;
    p.scale = scale;
    p.ratio = ratio;
    p.draw = draw;
    p.field = field;
    run_step(visible, p, out, nullptr, totals, visible_shape);
}

void Rbm::hidden_given_visible(const Left& v, int64_t count, const Outputs& out, const Draw& draw, const void* totals) {
    hidden_step(v, count, hidden_bias_.data(), up, -1, out, draw, totals);
}

void Rbm::visible_given_hidden(const Left& h, int64_t count, const Outputs& out, const Draw& draw, const void* totals) {
    visible_step(h, count, visible_bias_.data(), down, -1, out, draw, totals);
}

void Rbm::follow_offsets(const Array& made, const Array& turned, const Array& visible_bias, const Array& offset_shift) {
    const int64_t V = visibles, H = hiddens;
    run(TurnPanels{V, H, made.data(), turned.data(), nullptr, nullptr, dtype, dtype}, device);
    run(Gemm{1, V, H, Left{hidden_offset.data()}, turned.data(), visible_bias.data(), V, -down, 1, dtype, dtype},
        device);
    run(Gemm{1, H, V, Left{offset_shift.data()}, made.data(), hidden_bias_.data(), H, -up, 1, dtype, dtype}, device);
}

void unpack_bits(const uint32_t* bits, int64_t count, int64_t n, void* values, DType dtype, Device of_bits) {
    Array copy;
    if (of_bits.is_gpu()) {  // bits are less to send than values
        copy = words(count * bit_words(n), {});
        copy_memory({}, copy.data(), of_bits, bits, size_t(count * bit_words(n)) * 4);
        bits = copy.as<uint32_t>();
    }
    run(UnpackBits{count, n, bits, values, dtype});
}

}  // namespace unsupfast
