// The loops of a convolutional RBM over mini-batches, Gibbs steps and temperatures.
#include "rbm/conv_rbm.h"

#include "kernels/batch/op.h"
#include "kernels/contrast/op.h"
#include "kernels/layout/op.h"
#include "rbm/programme.h"
#include "rbm/step.h"
#include "rbm/update.h"

namespace unsupfast {
namespace {

// Of the sliding mean of a filter's activity: over all positions, so that it needs fewer mini-batches than a unit's.
constexpr double kFilterDecay = 0.9;

// Where kernels leave what memory on the CPU (null: none) shall hold: there, or first in the GPU's.
class Result {
  public:
    Result(void* on_cpu, DType dtype, int64_t n, Device device) : on_cpu_(on_cpu) {
        if (on_cpu && device.is_gpu()) on_gpu_ = Array(dtype, n, device);
    }
    void* data() const { return on_gpu_ ? on_gpu_.data() : on_cpu_; }
    void send() const {
        if (on_gpu_) copy_memory({}, on_cpu_, on_gpu_.device(), on_gpu_.data(), on_gpu_.bytes());
    }

  private:
    void* on_cpu_;
    Array on_gpu_;
};

}  // namespace

// `count` maps of visible units: values, and while all of these are 0 or 1 bits, which are what counts then.
struct ConvRbm::Visibles {
    Visibles(const ConvRbm& r, int64_t count)
        : r(r),
          count(count),
          line(r.shape.width * r.shape.channels),
          values(r.array(count * r.shape.pixels())),
          bits(words(count * r.visible_words(), r.device)) {}

    void set(const void* from, Device from_device) {
        copy_memory(r.device, values.data(), from_device, from, values.bytes());
        look();
    }
    void take(const Rows& rows, const int64_t* order) {
        const TakeRows p{count,   r.shape.pixels(), rows.left(), order, values.data(),
                         nullptr, Corruption::none, 0,           {},    r.dtype};
        run(p, r.device);
    }
    void get(void* on_cpu) const {
        if (!binary) return copy_memory({}, on_cpu, r.device, values.data(), values.bytes());
        unpack_bits(bits.as<uint32_t>(), count * r.shape.height, line, on_cpu, r.dtype, r.device);
    }
    // Makes bits of values that are 0 and 1: after a look at them, which a GPU has to be waited for, or if so known.
    void look() { binary = r.visible == Unit::bernoulli && r.pack(values.data(), count, bits, false); }
    void pack(bool known) { binary = known && r.pack(values.data(), count, bits, true); }
    Left left() const { return r.shape.maps(values.data(), binary ? bits.as<uint32_t>() : nullptr); }

    // columns (of a row of pixels) = the sums over all rows, and beta times what was there
    void sum_rows(double beta, const Array& columns) const {
        const Left rows = binary ? bit_rows(bits.as<uint32_t>(), line) : Left{values.data(), line, 1};
        run(ColumnSum{count * r.shape.height, line, rows, nullptr, beta, columns.data(), r.dtype}, r.device);
    }

    const ConvRbm& r;
    const int64_t count, line;
    Array values, bits;
    bool binary = false;
};

struct ConvRbm::Step {
    void *mean = nullptr, *pooled = nullptr;
    uint32_t* bits = nullptr;
    void* log_partition = nullptr;
};

ConvRbm::ConvRbm(const ConvShape& s, int64_t pool, Unit visible, DType dtype, DType format, Device device)
    : shape(s),
      pool(pool),
      visible(visible),
      dtype(dtype),
      format(format),
      device(device),
      filters(array(s.filters * s.taps())),
      visible_bias(array(s.channels)),
      hidden_bias(array(s.filters)),
      velocity(array(s.filters * s.taps())),
      visible_velocity(array(s.channels)),
      hidden_velocity(array(s.filters)),
      activity(array(s.filters)),
      block_(s.block()),
      to_hidden_(format, panel_elements(format, s.taps(), s.filters), device),
      to_visible_(format, panel_elements(format, s.turned_depth(block_), block_ * s.channels), device),
      pixel_bias_(array(block_ * s.channels)),
      sigma_(array(block_ * s.channels)) {
    each(Elementary::add, sigma_.size(), sigma_, nullptr, 1, sigma_.data());
    refresh();
}

ConvRbm::~ConvRbm() = default;

void ConvRbm::refresh() {
    run(PackPanels{shape.taps(), shape.filters, filters.data(), 1, shape.taps(), to_hidden_.data(), dtype, format},
        device);
    run(shape.turn(filters.data(), to_visible_.data(), block_, dtype, format), device);
    tile(visible_bias.data(), block_, pixel_bias_);
}

void ConvRbm::tile(const void* per_channel, int64_t pixels, const Array& to) const {
    Elementwise p{};
    p.f = Elementary::mul;
    p.extent[0] = p.extent[1] = 1;
    p.extent[2] = pixels;
    p.extent[3] = shape.channels;
    p.a = per_channel;
    p.a_stride[3] = 1;
    p.number = 1;
    p.y = to.data();
    p.dtype = dtype;
    run(p, device);
}

bool ConvRbm::pack(const void* values, int64_t count, const Array& bits, bool known) const {
    const int64_t line = shape.width * shape.channels;
    const Array flag = known ? Array() : words(1, device);
    run(PackBits{count * shape.height, line, values, line, nullptr, bits.as<uint32_t>(), flag.as<int32_t>(), dtype},
        device);
    if (known) return true;
    int32_t other = 0;
    copy_memory({}, &other, device, flag.data(), sizeof other);
    return !other;
}

void ConvRbm::set_chains(const void* values, int64_t count) {
    chains_ = std::make_unique<Visibles>(*this, count);
    chains_->set(values, {});
}
void ConvRbm::get_chains(void* values) const {
    if (chains_) chains_->get(values);
}
int64_t ConvRbm::chain_count() const { return chains_ ? chains_->count : 0; }

void ConvRbm::hidden_step(const Visibles& v, const void* bias, double scale, double ratio, const Step& out,
                          const Draw& draw) const {
    run(PoolingStep{v.count * shape.positions(), shape.filters, shape.taps(), v.left(), shape.out_height(),
                    shape.out_width(), pool, to_hidden_.data(), bias, scale, out.mean, out.bits, out.pooled,
                    out.log_partition, ratio, draw, dtype, format},
        device);
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
    run(p, device);
}

// One call of ConvRbm::train: its buffers, and the parts of an update in their order.
class ConvRbm::Training {
  public:
    Training(ConvRbm& r, const ConvOptions& o, int64_t max_batch)
        : r(r),
          o(o),
          positions(r.shape.positions()),
          K(r.shape.filters),
          most(std::max(max_batch, o.persistent ? r.chain_count() : 0)),
          mean(r.array(most * r.units())),
          gw(r.array(r.filters.size())),
          gh(r.array(K)),
          gv(r.array(r.shape.channels)),
          mean_h(r.array(K)),
          columns(r.array(r.shape.width * r.shape.channels)),
          unused(r.array(K)),
          bits(words(most * r.hidden_words(), r.device)),
          guard({"weights", "visible biases", "hidden biases"}, r.device) {}

    bool update(const Batch& given, const std::function<bool()>&) {
        n = given.count;
        clock = given.clock;
        take_data(given);
        Visibles& model = o.persistent ? *r.chains_ : *from_data;
        data_part();
        model_part(model);
        by_visible_biases(model);
        by_hidden_biases();
        make_step();
        count();
        return true;
    }

    // What the CPU remembers of an update.
    void count() { r.step += uint64_t(o.k); }
    const char* diverged(bool last) { return guard.found(last); }

  private:
    template <class P>
    void run(const P& p) {
        unsupfast::run(p, r.device);
    }
    Draw draw(uint32_t stream, int k) const { return clock.draw(r.seed, r.step + uint64_t(k), stream); }

    // On the CPU every mini-batch is looked at for values other than 0 and 1.
    void take_data(const Batch& given) {
        if (!data || n != data->count) data.emplace(r, n);
        data->take(given.rows, given.at);
        if (r.device.is_gpu())
            data->pack(given.rows.zero_one);
        else
            data->look();
        if (!o.persistent && (!from_data || n != from_data->count)) from_data.emplace(r, n);
    }

    void hidden_step(const Visibles& v, const Step& out, const Draw& d) {
        r.hidden_step(v, r.hidden_bias.data(), 1, -1, out, d);
    }
    void add_gradient(const Visibles& v, double sign, double beta) {
        run(FilterGradient{v.count * positions, K, r.shape.taps(), v.left(), mean.data(),
                           sign / double(v.count * positions), beta, gw.data(), gh.data(), r.dtype, r.format});
    }

    void data_part() {
        hidden_step(*data, {mean.data(), nullptr, o.persistent ? nullptr : bits.as<uint32_t>()}, draw(kPositive, 0));
        if (o.l2 > 0) {  // the gradient begins with the decay
            copy(gw, r.filters);
            gh.zero();
        }
        add_gradient(*data, 1, -o.l2);
        copy(mean_h, gh);
    }

    void model_part(Visibles& model) {
        const bool bernoulli = r.visible == Unit::bernoulli, to_bits = bernoulli && r.block_ == r.shape.width;
        if (o.persistent) hidden_step(model, {nullptr, nullptr, bits.as<uint32_t>()}, draw(kHidden, 0));
        for (int k = 0; k < o.k; ++k) {
            const bool last = k + 1 == o.k;
            r.visible_step(r.shape.turned_maps(nullptr, bits.as<uint32_t>(), r.block_), model.count,
                           r.pixel_bias_.data(), 1, nullptr, to_bits ? nullptr : model.values.data(),
                           to_bits ? model.bits.as<uint32_t>() : nullptr, draw(kVisible, k));
            if (to_bits)
                model.binary = true;
            else
                model.pack(bernoulli);
            hidden_step(model, {last ? mean.data() : nullptr, nullptr, last ? nullptr : bits.as<uint32_t>()},
                        draw(kHidden, k + 1));
        }
        add_gradient(model, -1, 1);
    }

    // Columns of the data less those of the model, which may be other in number.
    void by_visible_biases(const Visibles& model) {
        model.sum_rows(0, columns);
        data->sum_rows(-double(n) / double(model.count), columns);
        run(Reduce{Reduction::sum, 1, r.shape.width, r.shape.channels, columns.data(), 1 / double(n * positions),
                   gv.data(), r.dtype});
    }

    // The sliding mean, and the push towards its target.
    void by_hidden_biases() {
        ContrastGradient c{};
        c.hiddens = K;
        c.dh = gh.data();
        c.hidden_mean = mean_h.data();
        c.hidden_offset = r.activity.data();
        c.rank_right = unused.data();
        c.total = 1;
        c.decay = r.step == 0 ? 0 : kFilterDecay;
        c.target = o.sparsity_target;
        c.cost = o.sparsity_cost;
        c.dtype = r.dtype;
        run(c);
    }

    void make_step() {
        MomentumStep m{};
        const auto add = [&](const Array& parameter, const Array& velocity, const Array& by) {
            m.slices[m.count] = {by.size(), parameter.data(), velocity.data(),    by.data(),
                                 -kNoBound, kNoBound,         guard.flag(m.count)};
            ++m.count;
        };
        add(r.filters, r.velocity, gw);
        add(r.visible_bias, r.visible_velocity, gv);
        add(r.hidden_bias, r.hidden_velocity, gh);
        m.rate = o.learning_rate;
        m.momentum = o.momentum;
        m.dtype = r.dtype;
        run(m);
        r.refresh();
    }

    void copy(const Array& to, const Array& from) {
        copy_memory(r.device, to.data(), r.device, from.data(), to.bytes());
    }

    ConvRbm& r;
    const ConvOptions& o;
    const int64_t positions, K, most;
    const Array mean;  // of hidden units
    Array gw, gh, gv, mean_h, columns, unused, bits;
    Guard guard;
    std::optional<Visibles> data, from_data;  // made anew for the last mini-batch, which may be smaller
    int64_t n = 0;                            // rows of data
    Clock clock;
};

std::optional<Diverged> ConvRbm::train(const Rows& rows, const int64_t* order, int64_t count, const ConvOptions& o,
                                       const std::function<bool(int64_t)>& tick) {
    Training training(*this, o, std::min(o.batch_size, count));
    return Programme(Source(rows, shape.pixels(), dtype, device, visible == Unit::bernoulli), order, count,
                     o.batch_size, o.k)
        .run(training, tick);
}

void ConvRbm::hidden_given_visible(const void* values, int64_t count, void* mean, void* pooled, void* sample,
                                   void* log_partition, uint64_t draw_seed) const {
    Visibles v(*this, count);
    v.set(values, device);
    const Result means(mean, dtype, count * units(), device), pooled_means(pooled, dtype, count * pools(), device);
    const Result log_z(log_partition, dtype, count, device);
    const Array bits = words(sample ? count * hidden_words() : 0, device);
    if (log_partition) clear_memory(device, log_z.data(), size_t(count * element_size(dtype)));
    hidden_step(v, hidden_bias.data(), 1, -1,
                {means.data(), pooled_means.data(), sample ? bits.as<uint32_t>() : nullptr, log_z.data()},
                Draw{draw_seed});
    for (const Result* r : {&means, &pooled_means, &log_z}) r->send();
    if (sample)
        unpack_bits(bits.as<uint32_t>(), count * shape.out_height(), shape.out_width() * shape.filters, sample, dtype,
                    device);
}

void ConvRbm::visible_given_hidden(const void* h, int64_t count, void* mean, void* sample, uint64_t draw_seed) const {
    const Result means(mean, dtype, count * shape.pixels(), device);
    const Result samples(sample, dtype, count * shape.pixels(), device);
    visible_step(shape.turned_maps(h, nullptr, block_), count, pixel_bias_.data(), 1, means.data(), samples.data(),
                 nullptr, Draw{draw_seed});
    means.send();
    samples.send();
}

void ConvRbm::gibbs(void* values, int64_t count, int64_t steps, void* mean, uint64_t draw_seed,
                    const std::function<bool(int64_t)>& tick) const {
    Visibles v(*this, count);
    v.set(values, {});
    const Array bits = words(count * hidden_words(), device);
    const Result means(mean, dtype, count * shape.pixels(), device);
    bool go_on = true;
    int64_t s = 0;
    for (; s < steps && go_on; ++s) {
        hidden_step(v, hidden_bias.data(), 1, -1, {nullptr, nullptr, bits.as<uint32_t>()},
                    {draw_seed, uint32_t(s), kSampling + kHidden, 0});
        visible_step(shape.turned_maps(nullptr, bits.as<uint32_t>(), block_), count, pixel_bias_.data(), 1,
                     s + 1 == steps ? means.data() : nullptr, v.values.data(), nullptr,
                     {draw_seed, uint32_t(s), kSampling + kVisible, 0});
        v.pack(visible == Unit::bernoulli);
        go_on = tick(s + 1);
    }
    if (steps > 0 && s == steps) means.send();
    v.get(values);
}

void ConvRbm::anneal(void* values, int64_t count, const double* betas, int64_t n, const void* base_bias,
                     double* log_weight, uint64_t draw_seed, const std::function<bool(int64_t)>& tick) const {
    Visibles v(*this, count);
    v.set(values, {});
    const Array bits = words(count * hidden_words(), device), log_z = array(count);
    const Array at_hidden = array(shape.filters), at_visible = array(shape.channels), shift = array(shape.channels);
    const Array base = array(shape.channels), pixel_bias = array(block_ * shape.channels);
    const Array pixel_shift = array(shape.pixels()), weights(DType::f64, count, device);
    copy_memory(device, weights.data(), {}, log_weight, weights.bytes());
    const bool gaussian = visible == Unit::gaussian;  // whose mean stays, as in Rbm::anneal
    copy_memory(device, base.data(), gaussian ? device : Device{}, gaussian ? visible_bias.data() : base_bias,
                base.bytes());
    each(Elementary::sub, shape.channels, visible_bias, base.data(), 0, shift.data());
    tile(shift.data(), shape.height * shape.width, pixel_shift);
    bool go_on = true;
    for (int64_t t = 1; t < n && go_on; ++t) {
        const double from = betas[t - 1], to = betas[t], scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        each(Elementary::mul, shape.filters, hidden_bias, nullptr, scale, at_hidden.data());
        clear_memory(device, log_z.data(), log_z.bytes());
        Step out{};
        if (to > 0) out.bits = bits.as<uint32_t>();
        out.log_partition = log_z.data();
        hidden_step(v, at_hidden.data(), scale, ratio, out, {draw_seed, uint32_t(t), kAnnealing + kHidden, 0});
        run(WeighAnnealed{count, shape.pixels(), Left{v.values.data(), shape.pixels(), 1}, log_z.data(),
                          pixel_shift.data(), to > 0 ? 1. : -1., to - from, weights.as<double>(), dtype},
            device);
        if (to > 0) {
            each(Elementary::mul, shape.channels, shift, nullptr, to, at_visible.data());
            each(Elementary::add, shape.channels, at_visible, base.data(), 0, at_visible.data());
            tile(at_visible.data(), block_, pixel_bias);
            visible_step(shape.turned_maps(nullptr, bits.as<uint32_t>(), block_), count, pixel_bias.data(), to, nullptr,
                         v.values.data(), nullptr, {draw_seed, uint32_t(t), kAnnealing + kVisible, 0});
            v.pack(!gaussian);
        }
        go_on = tick(t);
    }
    copy_memory({}, log_weight, device, weights.data(), weights.bytes());
    v.get(values);
}

}  // namespace unsupfast
