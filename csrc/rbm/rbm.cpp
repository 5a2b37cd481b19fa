// Parameters of the machine, the layouts derived from them, and the two half-steps.
#include "rbm/rbm.h"
#include "kernels/layout/op.h"

#include <algorithm>
#include <cmath>

#include "registry.h"

namespace unsupfast {

Rbm::Rbm(int64_t visibles_, int64_t hiddens_, Unit visible_, DType dtype_, DType format_)
    : visibles(visibles_), hiddens(hiddens_), visible(visible_), dtype(dtype_), format(format_) {
    velocity = Array(dtype, panel_elements(dtype, visibles, hiddens));
    bias_velocity = Array(dtype, 2 * visibles + hiddens);
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
    std::vector<uint32_t> bits(size_t(count * bit_words(hiddens)));
    int32_t other = 0;
    run(PackBits{count, hiddens, states, hiddens, nullptr, bits.data(), &other, dtype});
    if (other) return false;
    chains = std::move(bits);
    n_chains = count;
    return true;
}

void Rbm::get_chains(void* states) const { unpack_bits(chains.data(), n_chains, hiddens, states, dtype); }

bool Rbm::refresh() {
    int32_t nonfinite = 0;
    run(TurnPanels{visibles, hiddens, weights_.data(), to_visible_.data(), to_hidden_.data(), &nonfinite, dtype,
                   format});
    return !nonfinite;
}

void Rbm::hidden_step(const Left& v, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                      const Draw& draw) {
    HalfStep p{};
    p.m = count;
    p.n = hiddens;
    p.k = visibles;
    p.states = v;
    if (visible == Unit::gaussian) p.states.k_scale = precision_.data();
    const bool master = format == dtype || (format == DType::i16 && !v.bits);
    p.weights = master ? weights_.data() : to_hidden_.data();
    p.format = master ? dtype : format;
    p.bias = bias;
    p.scale = scale;
    p.unit = Unit::bernoulli;
    p.mean = out.mean;
    p.sample = out.sample;
    p.bits = out.bits;
    p.log_partition = out.log_partition;
    p.ratio = ratio;
    p.draw = draw;
    p.dtype = dtype;
    run(p);
}

void Rbm::visible_step(const Left& h, int64_t count, const void* bias, double scale, const Outputs& out,
                       const Draw& draw) {
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
    p.unit = visible;
    p.mean = out.mean;
    p.sample = out.sample;
    p.bits = out.bits;
    p.ratio = -1;
    p.draw = draw;
    p.dtype = dtype;
    run(p);
}

void Rbm::hidden_given_visible(const Left& v, int64_t count, const Outputs& out, const Draw& draw) {
    hidden_step(v, count, hidden_bias_.data(), 1, -1, out, draw);
}

void Rbm::visible_given_hidden(const Left& h, int64_t count, const Outputs& out, const Draw& draw) {
    visible_step(h, count, visible_bias_.data(), 1, out, draw);
}

void unpack_bits(const uint32_t* bits, int64_t count, int64_t n, void* values, DType dtype) {
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t i = 0; i < count; ++i)
            for (int64_t j = 0; j < n; ++j)
                static_cast<T*>(values)[i * n + j] = T(bits[i * bit_words(n) + j / 32] >> j % 32 & 1u);
    });
}

}  // namespace unsupfast
