// Parameters of the machine, the layouts derived from them, and the two half-steps.
#include "rbm/rbm.h"

#include <algorithm>
#include <cmath>

namespace unsupfast {

Rbm::Rbm(Layer visible_, Layer hidden_, DType dtype_, DType format_)
    : visible(std::move(visible_)),
      hidden(std::move(hidden_)),
      visibles(visible.size()),
      hiddens(hidden.size()),
      dtype(dtype_),
      format(format_) {
    const bool shaped = visible.has(Unit::drelu) || hidden.has(Unit::drelu);
    visible_shape = Array(dtype, 2 * visibles);
    hidden_shape = Array(dtype, 2 * hiddens);
    velocity = Array(dtype, panel_elements(dtype, visibles, hiddens));
    bias_velocity = Array(dtype, 2 * visibles + hiddens + (shaped ? 2 * (visibles + hiddens) : 0));
    visible_offset = Array(dtype, visibles);
    hidden_offset = Array(dtype, hiddens);
    weights_ = Array(dtype, panel_elements(dtype, visibles, hiddens));
    if (format != dtype) to_hidden_ = Array(format, panel_elements(format, visibles, hiddens));
    to_visible_ = Array(format, panel_elements(format, hiddens, visibles));
    visible_bias_ = Array(dtype, visibles);
    hidden_bias_ = Array(dtype, hiddens);
    log_variance_ = Array(dtype, visibles);
    precision_ = Array(dtype, visibles);
    sigma_ = Array(dtype, visibles);
    set_log_variance(nullptr);
}

void Rbm::set_log_variance(const void* log_variance) {
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t i = 0; i < visibles; ++i) {
            T& z = log_variance_.as<T>()[i];
            if (log_variance) z = static_cast<const T*>(log_variance)[i];
            precision_.as<T>()[i] = std::exp(-z);
            sigma_.as<T>()[i] = std::exp(z / 2);
        }
    });
}

void Rbm::set_parameters(const void* weights, int64_t row_stride, int64_t col_stride, const void* visible_bias,
                         const void* hidden_bias, const void* log_variance) {
    run(PackPanels{visibles, hiddens, weights, row_stride, col_stride, weights_.data(), dtype, dtype});
    std::memcpy(visible_bias_.data(), visible_bias, size_t(visibles * element_size(dtype)));
    std::memcpy(hidden_bias_.data(), hidden_bias, size_t(hiddens * element_size(dtype)));
    if (log_variance) set_log_variance(log_variance);
    refresh();
}

void Rbm::get_parameters(void* weights, void* visible_bias, void* hidden_bias, void* log_variance) const {
    by_dtype(dtype, [&]<class T>(T) {
        if (weights)
            for (int64_t i = 0; i < visibles; ++i)
                for (int64_t j = 0; j < hiddens; ++j)
                    static_cast<T*>(weights)[i * hiddens + j] =
                        weights_.as<T>()[(j / kPanel * visibles + i) * kPanel + j % kPanel];
    });
    const auto copy = [&](void* to, const Array& from) {
        if (to) std::memcpy(to, from.data(), size_t(from.size() * element_size(dtype)));
    };
    copy(visible_bias, visible_bias_);
    copy(hidden_bias, hidden_bias_);
    copy(log_variance, log_variance_);
}

bool Rbm::set_chains(const void* states, int64_t count) {
    States fresh(hidden, count, dtype);
    if (!fresh.set(states)) return false;
    chains = std::move(fresh);
    return true;
}

void Rbm::sum_counts(const Rows& rows, const int64_t* order, int64_t count, Array& totals) const {
    if (!visible.has(Unit::multinomial)) return;
    totals.reserve(dtype, count);
    by_dtype(dtype, [&]<class T>(T) {
        const T* data = static_cast<const T*>(rows.data);
        for (int64_t b = 0; b < count; ++b) {
            const int64_t row = order ? order[b] : b;
            T sum = 0;
            for (const Segment& s : visible.segments) {
                if (s.unit != Unit::multinomial) continue;
                if (rows.indptr) {
                    for (int64_t e = rows.indptr[row]; e < rows.indptr[row + 1]; ++e)
                        if (rows.indices[e] >= s.begin && rows.indices[e] < s.end) sum += data[e];
                } else {
                    for (int64_t i = s.begin; i < s.end; ++i) sum += data[row * rows.row_stride + i];
                }
            }
            totals.as<T>()[b] = sum;
        }
    });
}

bool Rbm::refresh() {
    int32_t nonfinite = 0;
    run(TurnPanels{visibles, hiddens, weights_.data(), to_visible_.data(), to_hidden_.data(), &nonfinite, dtype,
                   format});
    return !nonfinite;
}

// The fused kernel where it knows the units; else the fields first, and then every segment by itself.
void Rbm::run_step(const Layer& layer, HalfStep p, const Outputs& out, const void* bias_weight, const void* totals,
                   const Array& shape) {
    const bool fused = (layer.binary() && !bias_weight) || (layer.gaussian() && p.sigma && !out.log_partition);
    if (fused) {
        p.unit = layer.binary() ? Unit::bernoulli : Unit::gaussian;
        p.mean = out.mean;
        p.sample = out.sample;
        p.bits = out.bits;
        p.log_partition = out.log_partition;
        run(p);
        return;
    }
    const int64_t size = element_size(dtype);
    fields_.reserve(dtype, p.m * p.n + p.n);
    const auto at = [&](const void* x, int64_t i) {
        return x ? static_cast<void*>(const_cast<char*>(static_cast<const char*>(x)) + i * size) : nullptr;
    };
    void* zeros = at(fields_.data(), p.m * p.n);
    std::memset(zeros, 0, size_t(p.n * size));
    HalfStep product = p;
    product.unit = Unit::gaussian;
    product.bias = zeros;
    product.scale = 1;
    product.ratio = -1;
    product.mean = fields_.data();
    run(product);
    void* sample = out.sample;
    if (out.bits && !sample) {
        drawn_.reserve(dtype, p.m * p.n);
        sample = drawn_.data();
    }
    for (const Segment& s : layer.segments) {
        Conditional c{};
        c.m = p.m;
        c.n = s.size();
        c.unit = s.unit;
        c.group = s.group;
        c.field = at(fields_.data(), s.begin);
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
        run(c);
    }
    if (out.bits) {
        int32_t other = 0;
        run(PackBits{p.m, p.n, sample, p.n, nullptr, out.bits, &other, dtype});
    }
}

void Rbm::hidden_step(const Left& v, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                      const Draw& draw, const void* totals) {
    HalfStep p{};
    p.m = count;
    p.n = hiddens;
    p.k = visibles;
    p.states = v;
    if (visible.has(Unit::gaussian)) p.states.k_scale = precision_.data();
    const bool master = format == dtype || (format == DType::i16 && !v.bits);
    p.weights = master ? weights_.data() : to_hidden_.data();
    p.format = master ? dtype : format;
    p.bias = bias;
    p.scale = scale;
    p.ratio = ratio;
    p.draw = draw;
    p.dtype = dtype;
    run_step(hidden, p, out, totals, nullptr, hidden_shape);
}

void Rbm::visible_step(const Left& h, int64_t count, const void* bias, double scale, const Outputs& out,
                       const Draw& draw, const void* totals) {
    HalfStep p{};
    p.m = count;
    p.n = visibles;
    p.k = hiddens;
    p.states = h;
    p.weights = to_visible_.data();
    p.format = format;
    Array plain;
    if (format == DType::i16 && !h.bits) {  // not on any path that has to be fast
        plain = Array(dtype, panel_elements(dtype, hiddens, visibles));
        run(TurnPanels{visibles, hiddens, weights_.data(), plain.data(), nullptr, nullptr, dtype, dtype});
        p.weights = plain.data();
        p.format = dtype;
    }
    p.bias = bias;
    p.sigma = sigma_.data();
    p.scale = scale;
    p.ratio = -1;
    p.draw = draw;
    p.dtype = dtype;
    run_step(visible, p, out, nullptr, totals, visible_shape);
}

void Rbm::hidden_given_visible(const Left& v, int64_t count, const Outputs& out, const Draw& draw, const void* totals) {
    hidden_step(v, count, hidden_bias_.data(), 1, -1, out, draw, totals);
}

void Rbm::visible_given_hidden(const Left& h, int64_t count, const Outputs& out, const Draw& draw, const void* totals) {
    visible_step(h, count, visible_bias_.data(), 1, out, draw, totals);
}

void unpack_bits(const uint32_t* bits, int64_t count, int64_t n, void* values, DType dtype) {
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t i = 0; i < count; ++i)
            for (int64_t j = 0; j < n; ++j)
                static_cast<T*>(values)[i * n + j] = T(bits[i * bit_words(n) + j / 32] >> j % 32 & 1u);
    });
}

}  // namespace unsupfast
