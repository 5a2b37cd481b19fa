// The loops of a convolutional RBM over mini-batches, Gibbs steps and temperatures.
#include "rbm/conv_rbm.h"

#include <limits>

#include "kernels/contrast/op.h"
#include "kernels/layout/op.h"
#include "rbm/step.h"

namespace unsupfast {
namespace {

// Of the sliding mean of a filter's activity: over all positions, so that it needs fewer mini-batches than a unit's.
constexpr double kFilterDecay = 0.9;

}  // namespace

// `count` maps of visible units: values, and where all of these are 0 or 1 the same as bits.
struct ConvRbm::Visibles {
    Visibles(const ConvRbm& r, int64_t count)
        : r(r), count(count), values(r.dtype, count * r.shape.pixels()), bits(words(count * r.visible_words(), {})) {}

    void set(const void* from) {
        std::memcpy(values.data(), from, values.bytes());
        look();
    }
    // Whether values are bits; those are then made.
    void look() {
        binary = false;
        if (r.visible != Unit::bernoulli) return;
        const int64_t line = r.shape.width * r.shape.channels;
        int32_t other = 0;
        run(PackBits{count * r.shape.height, line, values.data(), line, nullptr, bits.as<uint32_t>(), &other, r.dtype});
        binary = !other;
    }
    Left left() const { return r.shape.maps(values.data(), binary ? bits.as<uint32_t>() : nullptr); }

    // Adds factor times the sums over all pixels to `sums`, a number a channel.
    template <class T>
    void add_sums(double factor, T* sums) const {
        const int64_t line = r.shape.width * r.shape.channels;
        const Array columns(r.dtype, line);
        const Left rows = binary ? bit_rows(bits.as<uint32_t>(), line) : Left{values.data(), line, 1};
        run(ColumnSum{count * r.shape.height, line, rows, nullptr, 0, columns.data(), r.dtype});
        for (int64_t j = 0; j < line; ++j) sums[j % r.shape.channels] += T(factor) * columns.as<T>()[j];
    }

    const ConvRbm& r;
    const int64_t count;
    Array values, bits;
    bool binary = false;
};

struct ConvRbm::Step {
    void *mean = nullptr, *pooled = nullptr;
    uint32_t* bits = nullptr;
    void* log_partition = nullptr;
};

ConvRbm::ConvRbm(const ConvShape& s, int64_t pool, Unit visible, DType dtype, DType format)
    : shape(s),
      pool(pool),
      visible(visible),
      dtype(dtype),
      format(format),
      filters(dtype, s.filters * s.taps()),
      visible_bias(dtype, s.channels),
      hidden_bias(dtype, s.filters),
      velocity(dtype, s.filters * s.taps()),
      visible_velocity(dtype, s.channels),
      hidden_velocity(dtype, s.filters),
      activity(dtype, s.filters),
      block_(s.block()),
      to_hidden_(format, panel_elements(format, s.taps(), s.filters)),
      to_visible_(format, panel_elements(format, s.turned_depth(block_), block_ * s.channels)),
      sigma_(dtype, block_ * s.channels) {
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t j = 0; j < sigma_.size(); ++j) sigma_.as<T>()[j] = T(1);
    });
    refresh();
}

void ConvRbm::refresh() {
    run(PackPanels{shape.taps(), shape.filters, filters.data(), 1, shape.taps(), to_hidden_.data(), dtype, format});
    run(shape.turn(filters.data(), to_visible_.data(), block_, dtype, format));
    pixel_bias_ = pixel_bias(visible_bias);
}

Array ConvRbm::tiled(const void* per_channel, int64_t pixels) const {
    Array out(dtype, pixels * shape.channels);
    by_dtype(dtype, [&]<class T>(T) {
        for (int64_t j = 0; j < out.size(); ++j)
            out.as<T>()[j] = static_cast<const T*>(per_channel)[j % shape.channels];
    });
    return out;
}

void ConvRbm::hidden_step(const Visibles& v, const void* bias, double scale, double ratio, const Step& out,
                          const Draw& draw) const {
    run(PoolingStep{v.count * shape.positions(), shape.filters, shape.taps(), v.left(), shape.out_height(),
                    shape.out_width(), pool, to_hidden_.data(), bias, scale, out.mean, out.bits, out.pooled,
                    out.log_partition, ratio, draw, dtype, format});
}

// bits only where a block is a row of pixels, so that rows of bits are rows of maps
void ConvRbm::visible_step(const Left& h, int64_t count, const void* bias, double scale, void* mean, void* sample,
                           uint32_t* bits, const Draw& draw) const {
    HalfStep p{};
    p.m = count * shape.pixels() / (block_ * shape.channels);
    p.n = block_ * shape.channels;
    p.k = shape.turned_depth(block_);
    p.states = h;
    p.weights = to_visible_.data();
    p.bias = bias;
    p.sigma = sigma_.data();
    p.scale = scale;
    p.unit = visible;
    p.mean = mean;
    p.sample = sample;
    p.bits = bits;
    p.ratio = -1;
    p.draw = draw;
    p.draw.first_row *= uint32_t(p.m / std::max<int64_t>(1, count));
    p.dtype = dtype;
    p.format = format;
    run(p);
}

std::optional<Diverged> ConvRbm::train(const void* rows, const int64_t* order, int64_t count, const ConvOptions& o,
                                       const std::function<bool(int64_t)>& tick) {
    const int64_t most = std::min(o.batch_size, count), n_chains = o.persistent ? chain_count : most;
    const int64_t pixels = shape.pixels(), positions = shape.positions(), K = shape.filters;
    const size_t row_bytes = size_t(pixels * element_size(dtype));
    const bool whole_rows = block_ == shape.width;
    std::optional<Visibles> data, model;  // made anew for the last mini-batch, which may be smaller
    if (o.persistent) model.emplace(*this, n_chains).set(chains.data());
    const Array mean(dtype, std::max(most, n_chains) * units()),
        bits = words(std::max(most, n_chains) * hidden_words(), {});
    const Array gw(dtype, filters.size()), gh(dtype, K), gv(dtype, shape.channels);
    int32_t nonfinite[3] = {};
    std::optional<Diverged> diverged;

    for (int64_t first = 0, batch = 0; first < count; first += o.batch_size, ++batch) {
        const int64_t n = std::min(o.batch_size, count - first);
        if (!data || n != data->count) data.emplace(*this, n);
        for (int64_t i = 0; i < n; ++i)
            std::memcpy(data->values.as<char>() + size_t(i) * row_bytes,
                        static_cast<const char*>(rows) + size_t(order[first + i]) * row_bytes, row_bytes);
        data->look();
        if (!model || (!o.persistent && n != model->count)) model.emplace(*this, n);

        const auto at = [&](uint32_t stream, uint64_t s) { return Draw{seed, uint32_t(s), stream, 0}; };
        const auto gradient = [&](const Visibles& v, double sign, double beta) {
            run(FilterGradient{v.count * positions, K, shape.taps(), v.left(), mean.data(),
                               sign / double(v.count * positions), beta, gw.data(), gh.data(), dtype, format});
        };
        hidden_step(*data, hidden_bias.data(), 1, -1,
                    {mean.data(), nullptr, o.persistent ? nullptr : bits.as<uint32_t>()}, at(kPositive, step));
        gradient(*data, 1, 0);
        by_dtype(dtype, [&]<class T>(T) {
            const T keep = T(step == 0 ? 0 : kFilterDecay);
            for (int64_t j = 0; j < K; ++j)
                activity.as<T>()[j] = keep * activity.as<T>()[j] + (T(1) - keep) * gh.as<T>()[j];
        });

        const auto draw_hidden = [&](const Step& out) {
            hidden_step(*model, hidden_bias.data(), 1, -1, out, at(kHidden, step));
        };
        if (o.persistent) draw_hidden({nullptr, nullptr, bits.as<uint32_t>()});
        for (int s = 0; s < o.k; ++s) {
            const Left h = shape.turned_maps(nullptr, bits.as<uint32_t>(), block_);
            if (visible == Unit::bernoulli && whole_rows) {
                visible_step(h, model->count, pixel_bias_.data(), 1, nullptr, nullptr, model->bits.as<uint32_t>(),
                             at(kVisible, step));
                model->binary = true;
            } else {
                visible_step(h, model->count, pixel_bias_.data(), 1, nullptr, model->values.data(), nullptr,
                             at(kVisible, step));
                model->look();
            }
            ++step;
            const bool last = s + 1 == o.k;
            draw_hidden({last ? mean.data() : nullptr, nullptr, last ? nullptr : bits.as<uint32_t>()});
        }
        gradient(*model, -1, 1);

        by_dtype(dtype, [&]<class T>(T) {
            std::fill_n(gv.as<T>(), gv.size(), T(0));
            data->add_sums<T>(1 / double(data->count * positions), gv.as<T>());
            model->add_sums<T>(-1 / double(model->count * positions), gv.as<T>());
            for (int64_t j = 0; j < filters.size(); ++j) gw.as<T>()[j] -= T(o.l2) * filters.as<T>()[j];
            if (o.sparsity_target >= 0)
                for (int64_t j = 0; j < K; ++j)
                    gh.as<T>()[j] += T(o.sparsity_cost) * (T(o.sparsity_target) - activity.as<T>()[j]);
        });
        constexpr double kNone = std::numeric_limits<double>::infinity();
        MomentumStep p{};
        p.slices[0] = {gw.size(), filters.data(), velocity.data(), gw.data(), -kNone, kNone, &nonfinite[0]};
        p.slices[1] = {gv.size(), visible_bias.data(), visible_velocity.data(), gv.data(), -kNone,
                       kNone,     &nonfinite[1]};
        p.slices[2] = {K, hidden_bias.data(), hidden_velocity.data(), gh.data(), -kNone, kNone, &nonfinite[2]};
        p.count = 3;
        p.rate = o.learning_rate;
        p.momentum = o.momentum;
        p.dtype = dtype;
        run(p);
        static constexpr const char* kNames[] = {"weights", "visible biases", "hidden biases"};
        for (int t = 0; t < 3 && !diverged; ++t)
            if (nonfinite[t]) diverged = Diverged{batch, kNames[t]};
        if (diverged) break;
        refresh();
        if (!tick(first + n)) break;
    }
    if (o.persistent && model) {
        if (model->binary)
            unpack_bits(model->bits.as<uint32_t>(), chain_count * shape.height, shape.width * shape.channels,
                        chains.data(), dtype);
        else
            std::memcpy(chains.data(), model->values.data(), chains.bytes());
    }
    return diverged;
}

void ConvRbm::hidden_given_visible(const void* values, int64_t count, void* mean, void* pooled, void* sample,
                                   void* log_partition, uint64_t draw_seed) const {
    Visibles v(*this, count);
    v.set(values);
    const Array bits = words(sample ? count * hidden_words() : 0, {});
    hidden_step(v, hidden_bias.data(), 1, -1, {mean, pooled, sample ? bits.as<uint32_t>() : nullptr, log_partition},
                Draw{draw_seed});
    if (sample)
        unpack_bits(bits.as<uint32_t>(), count * shape.out_height(), shape.out_width() * shape.filters, sample, dtype);
}

void ConvRbm::visible_given_hidden(const void* h, int64_t count, void* mean, void* sample, uint64_t draw_seed) const {
    visible_step(shape.turned_maps(h, nullptr, block_), count, pixel_bias_.data(), 1, mean, sample, nullptr,
                 Draw{draw_seed});
}

void ConvRbm::gibbs(void* values, int64_t count, int64_t steps, void* mean, uint64_t draw_seed,
                    const std::function<bool(int64_t)>& tick) const {
    Visibles v(*this, count);
    v.set(values);
    const Array bits = words(count * hidden_words(), {});
    bool go_on = true;
    for (int64_t s = 0; s < steps && go_on; ++s) {
        hidden_step(v, hidden_bias.data(), 1, -1, {nullptr, nullptr, bits.as<uint32_t>()},
                    {draw_seed, uint32_t(s), kSampling + kHidden, 0});
        visible_step(shape.turned_maps(nullptr, bits.as<uint32_t>(), block_), count, pixel_bias_.data(), 1,
                     s + 1 == steps ? mean : nullptr, v.values.data(), nullptr,
                     {draw_seed, uint32_t(s), kSampling + kVisible, 0});
        v.look();
        go_on = tick(s + 1);
    }
    std::memcpy(values, v.values.data(), v.values.bytes());
}

void ConvRbm::anneal(void* values, int64_t count, const double* betas, int64_t n, const void* base_bias,
                     double* log_weight, uint64_t draw_seed, const std::function<bool(int64_t)>& tick) const {
    Visibles v(*this, count);
    v.set(values);
    const Array bits = words(count * hidden_words(), {}), log_z(dtype, count);
    const Array at_hidden(dtype, shape.filters), at_visible(dtype, shape.channels), shift(dtype, shape.channels);
    const void* base = visible == Unit::gaussian ? visible_bias.data() : base_bias;  // as in Rbm::anneal
    each(Elementary::sub, shape.channels, visible_bias, base, 0, shift.data());
    const Array pixel_shift = tiled(shift.data(), shape.height * shape.width);
    bool go_on = true;
    for (int64_t t = 1; t < n && go_on; ++t) {
        const double from = betas[t - 1], to = betas[t], scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        each(Elementary::mul, shape.filters, hidden_bias, nullptr, scale, at_hidden.data());
        clear_memory({}, log_z.data(), log_z.bytes());
        Step out{};
        if (to > 0) out.bits = bits.as<uint32_t>();
        out.log_partition = log_z.data();
        hidden_step(v, at_hidden.data(), scale, ratio, out, {draw_seed, uint32_t(t), kAnnealing + kHidden, 0});
        run(WeighAnnealed{count, shape.pixels(), Left{v.values.data(), shape.pixels(), 1}, log_z.data(),
                          pixel_shift.data(), to > 0 ? 1. : -1., to - from, log_weight, dtype});
        if (to > 0) {
            each(Elementary::mul, shape.channels, shift, nullptr, to, at_visible.data());
            each(Elementary::add, shape.channels, at_visible, base, 0, at_visible.data());
            visible_step(shape.turned_maps(nullptr, bits.as<uint32_t>(), block_), count, pixel_bias(at_visible).data(),
                         to, nullptr, v.values.data(), nullptr, {draw_seed, uint32_t(t), kAnnealing + kVisible, 0});
            v.look();
        }
        go_on = tick(t);
    }
    std::memcpy(values, v.values.data(), v.values.bytes());
}

}  // namespace unsupfast
