// Contrastive training, mini-batch by mini-batch: data rows, model rows, gradient, step.
#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "kernels/contrast/op.h"
#include "kernels/layout/op.h"
#include "kernels/optim/op.h"
#include "rbm/class_rows.h"
#include "rbm/programme.h"
#include "rbm/rbm.h"
#include "rbm/step.h"
#include "rbm/tempering.h"
#include "rbm/update.h"
#include "registry.h"

namespace unsupfast {
namespace {

constexpr double kMaxGap = 10, kMaxAsymmetry = 0.9;  // bounds of the learned shapes of double rectified units

}  // namespace

// One call of Rbm::train: its buffers, and the parts of an update in their order.
template <class T>
class Training {
  public:
    Training(Rbm& r, const TrainOptions& o, const T* weight, const int64_t* label, int64_t max_batch)
        : r(r),
          o(o),
          weight(weight),
          V(r.visibles),
          H(r.hiddens),
          K(label ? r.visible.segments.back().group : 0),
          levels(std::max<int64_t>(1, int64_t(o.temperatures.size()))),
          model_rows(o.persistent ? r.chains.count() / levels : max_batch),
          counts(r.visible.has(Unit::multinomial)),
          staged(o.adam || o.clip_norm > 0),
          batch(r.visible, max_batch + K + model_rows, r.dtype, r.device, o.offset, o.scale),
          activities(array((max_batch + K + model_rows) * H)),
          row_weights(max_batch + K + model_rows, r.dtype, r.device),
          gradient(r, o),
          mean_h(array(H)),
          guard({"weights", "visible biases", "hidden biases"}, r.device) {
        if (o.learn_shape && r.visible.has(Unit::drelu)) visible_dshape = array(2 * V);
        if (o.learn_shape && r.hidden.has(Unit::drelu)) hidden_dshape = array(2 * H);
        if (counts || K) hidden_contrast = array(row_weights.contrast.size());
        if (K) classes.emplace(r, o, weight, label, max_batch, row_weights.contrast.size());
        if (!o.persistent || hidden_dshape) of_data = States(r.hidden, max_batch, r.dtype, r.device);
        if (levels > 1) tempering.emplace(r, o);
        if (o.selectivity_target >= 0) ranks = array(max_batch * H);
        if (staged) {
            dw = array(r.weights_.size());
            before = array(r.weights_.size());
        }
        if (o.adam) {
            r.second.reserve(r.dtype, r.velocity.size(), r.device);
            r.bias_second.reserve(r.dtype, r.bias_velocity.size(), r.device);
        }
    }

    // False: stopped, nothing learned.
    bool update(const Batch& given, const std::function<bool()>& go_on) {
        B = given.count;
        C = o.persistent ? model_rows : B;
        M = B + K;
        clock = given.clock;
        const int64_t* order = given.order;
        if (!(K ? classes->weigh(order, B, C, row_weights, hidden_contrast) : row_weights.set(order, weight, B, C, o)))
            return true;  // a batch of zero weight teaches nothing
        batch.gather(given.rows, given.at, B);
        r.sum_counts(batch.data(), B, totals);
        if (K)
            class_rows();
        else if (!data_rows())
            return false;
        if (C > 0 && !model_rows_by_gibbs(go_on)) return false;
        batch.finish(C);
        if (ranks)
            run(SelectiveTargets{B, H, activities.data(), ranks.data(), o.selectivity_target, o.selectivity_cost,
                                 r.dtype});
        bias_gradients();
        weights_and_step();
        r.refresh(guard.flag(0));
        count();
        return true;
    }

    // What the CPU remembers of an update.
    void count() {
        r.step += uint64_t(o.k) + 1;
        ++r.updates;
    }
    const char* diverged(bool last) { return guard.found(last); }
    // What is counted where the machine is.
    void report() const {
        if (tempering) tempering->report();
    }

  private:
    Array array(int64_t n) const { return Array(r.dtype, n, r.device); }
    template <class P>
    void run(const P& p) {
        unsupfast::run(p, r.device);
    }

    // Draws of a purpose; false if there are none left to give.
    bool draw(Stream stream, int k, int64_t n, Draw& d) {
        d = clock.draw(r.seed, r.step + uint64_t(k), stream);
        return !o.uniforms || (d.given = o.uniforms(n));
    }

    void class_rows() {
        Draw of_labels{}, of_hiddens{};
        draw(kLabel, 0, B, of_labels);
        draw(kPositive, 0, B * H, of_hiddens);
        classes->fill(batch, B, totals.data(), of_labels, of_hiddens, activities.as<T>(),
                      !o.persistent && C > 0 ? &of_data : nullptr);
    }

    bool data_rows() {
        Draw positive{};
        Outputs out{};
        if (of_data.count()) {
            if (!draw(kPositive, 0, B * H, positive)) return false;
            out = of_data.samples();
        }
        out.mean = activities.data();
        r.hidden_given_visible(batch.data(), B, out, positive, totals.data());
        if (hidden_dshape) {
            hidden_dshape.zero();
            add_shape_gradient(r.hidden, of_data.values(), B, row_weights.contrast.as<T>(), r.hidden_shape,
                               hidden_dshape);
        }
        return true;
    }

    // Derivatives of the log weights of double rectified units, the rows as `weight` says.
    void add_shape_gradient(const Layer& layer, const void* states, int64_t count, const T* weight, const Array& shape,
                            const Array& by_shape) {
        for (const Segment& s : layer.segments)
            if (s.unit == Unit::drelu)
                run(ShapeGradient{count, layer.size(), s.begin, s.end, states, weight, shape.data(),
                                  1 / row_weights.total, by_shape.data(), r.dtype});
    }

    bool model_rows_by_gibbs(const std::function<bool()>& go_on) {
        if (o.fast_rate > 0) r.exchange();
        const bool done = tempering ? temper(go_on) : gibbs(go_on);
        if (o.fast_rate > 0) r.exchange();
        return done;
    }

    bool gibbs(const std::function<bool()>& go_on) {
        States& chain = o.persistent ? r.chains : of_data;
        if (batch.is_bits() && r.chain_pays(C, o.k)) {  // from hidden states, in one kernel
            GibbsChain p = r.visible_chain({}, C);
            std::swap(p.near, p.far);
            std::swap(p.to_near, p.to_far);
            std::swap(p.near_bias, p.far_bias);
            p.near_bits = chain.samples().bits;
            p.far_bits = batch.model(true).bits;
            p.near_mean = activities.as<T>() + M * H;
            p.steps = o.k;
            p.seed = r.seed;
            p.near_stream = kHidden;
            p.far_stream = kVisible;
            p.first_step = clock.draw(r.seed, r.step + 1, kHidden).step;
            p.clock = clock.number;
            run(p);
            return go_on();
        }
        for (int k = 1; k <= o.k; ++k) {
            const bool last = k == o.k, keep = !last || o.persistent || hidden_dshape;
            Draw of_visibles{}, of_hiddens{};
            if (!draw(kVisible, k, C * V, of_visibles)) return false;
            r.visible_given_hidden(chain.left(), C, batch.model(last), of_visibles, model_totals());
            if (keep && !draw(kHidden, k, C * H, of_hiddens)) return false;
            Outputs out = keep ? chain.samples() : Outputs{};
            out.mean = last ? activities.as<T>() + M * H : nullptr;
            r.hidden_given_visible(batch.model_states(), C, out, of_hiddens, model_totals());
            if (!go_on()) return false;
        }
        return true;
    }

    bool temper(const std::function<bool()>& go_on) {
        tempering->follow();
        for (int k = 1; k <= o.k; ++k) {
            T* mean = k == o.k ? activities.as<T>() + M * H : nullptr;
            tempering->sweep(clock, r.step + uint64_t(k), (r.updates + uint64_t(k)) % 2, mean);
            if (!go_on()) return false;
        }
        batch.set_model(tempering->visible(), tempering->coldest(), C);
        return true;
    }

    // Weights of the rows in what has to do with visible units alone.
    const T* of_visibles() const { return (K ? classes->visible_contrast : row_weights.contrast).template as<T>(); }

    const T* model_totals() const {
        if (!counts) return nullptr;
        return o.persistent ? r.chain_totals.as<T>() + (levels - 1) * C : totals.as<T>();
    }

    void bias_gradients() {
        run(ColumnSum{M + C, V, batch.all(), of_visibles(), 0, gradient.dv.data(), r.dtype});
        if (K) classes->add_shares(B, gradient.dv);
        if (counts) {  // a hidden bias counts as often as the row does
            T *rows = hidden_contrast.as<T>(), *models = rows + M;
            if (!K) copy(hidden_contrast, row_weights.contrast);
            each(Elementary::mul, B, rows, totals.data(), 0, rows, r.dtype, r.device);
            each(Elementary::mul, C, models, model_totals(), 0, models, r.dtype, r.device);
        }
        const Left h{activities.data(), H, 1};
        const Array& of_hiddens = hidden_contrast ? hidden_contrast : row_weights.contrast;
        run(ColumnSum{M + C, H, h, of_hiddens.data(), 0, gradient.dh.data(), r.dtype});
        const bool means = o.needs_means();
        if (means) run(ColumnSum{B, H, h, row_weights.share.data(), 0, mean_h.data(), r.dtype});
        gradient.finish(r, o, means ? mean_h.data() : nullptr, row_weights.total, r.step == 0);
        if (o.hidden_pull != 0) each(Elementary::add, H, gradient.dh, nullptr, -o.hidden_pull, gradient.dh.data());
    }

    void weights_and_step() {
        const WeightUpdate u =
            gradient.on_weights(r, o, M + C, batch.turned(), activities.data(), row_weights.contrast.data());
        if (staged) {  // the gradient by itself, so that all of it is known before a step is made
            copy(before, r.weights_);
            WeightUpdate only = u;
            only.velocity = dw.data();
            only.rate = 1;
            only.momentum = 0;
            run(only);
            copy(r.weights_, before);
        } else {
            run(u);
        }
        gradient.add_variances(r, M + C, batch.values(), of_visibles());
        shape_gradients();

        double factor = 1;
        if (o.clip_norm > 0) {
            double sum = 0;
            for (const Array* part : {&dw, &gradient.dv, &gradient.dh, &gradient.dz, &visible_dshape, &hidden_dshape})
                if (*part) sum += squared_norm(*part);
            factor = std::min(1.0, o.clip_norm / std::sqrt(sum));
        }
        if (staged)
            step({{&r.weights_, &dw, 0, 0, dw.size(), -kNoBound, kNoBound, guard.flag(0)}}, r.velocity, r.second,
                 factor);
        if (o.max_norm > 0) limit_norms(r.weights_, V, H, o.max_norm);

        // biases, log variances and shapes follow each other in bias_velocity
        std::vector<Part> parts{{&r.visible_bias_, &gradient.dv, 0, 0, V, -kNoBound, kNoBound, guard.flag(1)},
                                {&r.hidden_bias_, &gradient.dh, 0, V, H, -kNoBound, kNoBound, guard.flag(2)}};
        if (gradient.dz)
            parts.push_back({&r.log_variance_, &gradient.dz, 0, V + H, V, kMinLogVariance, kMaxLogVariance});
        const auto shape = [&](Array& p, const Array& g, int64_t at, int64_t n) {
            if (!g) return;
            parts.push_back({&p, &g, 0, at, n, -kMaxGap, kMaxGap});
            parts.push_back({&p, &g, n, at + n, n, -kMaxAsymmetry, kMaxAsymmetry});
        };
        shape(r.visible_shape, visible_dshape, 2 * V + H, V);
        shape(r.hidden_shape, hidden_dshape, 4 * V + H, H);
        step(parts, r.bias_velocity, r.bias_second, factor);
        if (o.centering) follow_offsets();
        if (gradient.dz) r.derive_variances();
        if (o.fast_rate > 0) r.step_fast(o, u, gradient.dv, gradient.dh);
    }

    // Numbers [first, first + n) of a parameter and its gradient; their moments are numbers `at` and on of others.
    struct Part {
        Array* parameter;
        const Array* gradient;
        int64_t first, at, n;
        double low, high;
        int32_t* nonfinite = nullptr;
    };

    // A step up the gradients times `factor`.
    void step(const std::vector<Part>& parts, const Array& first, const Array& second, double factor) {
        if (!o.adam) {
            MomentumStep m{};
            for (const Part& p : parts)
                m.slices[m.count++] = {p.n,
                                       p.parameter->template as<T>() + p.first,
                                       first.as<T>() + p.at,
                                       p.gradient->template as<T>() + p.first,
                                       p.low,
                                       p.high,
                                       p.nonfinite};
            m.rate = o.learning_rate * factor;
            m.momentum = o.momentum;
            m.dtype = r.dtype;
            return run(m);
        }
        // Kingma and Ba, ICLR 2015; the rule steps down, so the rate is negative
        const double c1 = 1 - std::pow(o.momentum, double(r.updates + 1));
        const double c2 = 1 - std::pow(o.second_decay, double(r.updates + 1));
        for (const Part& p : parts) {
            const Slice slice{p.n,
                              p.parameter->template as<T>() + p.first,
                              p.gradient->template as<T>() + p.first,
                              first.as<T>() + p.at,
                              second.as<T>() + p.at,
                              0};
            run(Optimise{&slice, 1, Rule::adam, false, -o.learning_rate, o.momentum, o.second_decay, o.eps, c1, c2,
                         factor, 0, p.nonfinite ? p.nonfinite : guard.flag(1), r.dtype});
            if (p.high == kNoBound) continue;
            T* x = p.parameter->template as<T>() + p.first;
            each(Elementary::maximum, p.n, x, nullptr, p.low, x, r.dtype, r.device);
            each(Elementary::minimum, p.n, x, nullptr, p.high, x, r.dtype, r.device);
        }
    }

    void copy(const Array& to, const Array& from) {
        copy_memory(r.device, to.data(), r.device, from.data(), to.bytes());
    }
    void follow_offsets() {
        const Array* made = &r.velocity;
        if (o.adam) {
            each(Elementary::sub, before.size(), r.weights_, before.data(), 0, before.data());
            made = &before;
        }
        r.follow_offsets(*made, gradient.turned_step, r.visible_bias_, gradient.offset_shift);
    }

    void shape_gradients() {
        if (visible_dshape) {
            visible_dshape.zero();
            add_shape_gradient(r.visible, batch.values(), M + C, of_visibles(), r.visible_shape, visible_dshape);
        }
        if (hidden_dshape) {
            const States& chain = o.persistent ? r.chains : of_data;
            add_shape_gradient(r.hidden, chain.values((levels - 1) * C), C, row_weights.contrast.as<T>() + M,
                               r.hidden_shape, hidden_dshape);
        }
    }

    Rbm& r;
    const TrainOptions& o;
    const T* weight;                            // of the rows of data; null: they weigh the same
    const int64_t V, H, K, levels, model_rows;  // K: classes
    const bool counts, staged;
    Minibatch<T> batch;
    Array activities;  // hidden means, in the order of the batch's rows
    RowWeights row_weights;
    Array hidden_contrast;  // in gradients by hidden biases, where those are others
    Gradient gradient;
    Array visible_dshape, hidden_dshape, mean_h, ranks;
    Guard guard;
    States of_data;  // hidden samples, where chains start from the data
    std::optional<Tempering> tempering;
    Array totals;  // of the data's counts
    std::optional<ClassRows<T>> classes;
    Array dw, before;             // where the gradient by the weights is staged
    int64_t B = 0, C = 0, M = 0;  // rows of data and of the model, and where the latter begin
    Clock clock;
};

std::optional<Diverged> Rbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const int64_t* label, const TrainOptions& o,
                                   const std::function<bool(int64_t)>& tick) {
    if (device.is_gpu() && o.uniforms) throw std::invalid_argument("given random numbers need device='cpu'");
    return by_dtype(dtype, [&]<class T>(T) {
        Training<T> training(*this, o, static_cast<const T*>(weight), label,
                             std::min(o.batch_size, std::max<int64_t>(count, 1)));
        if (o.fast_rate > 0) prepare_fast();
        const bool alike = !weight && !label && !o.adam && o.clip_norm == 0;
        // exchanges are of the one half of all pairs in one update, of the other in the next
        const int kinds = o.temperatures.empty() ? 1 : 2;
        Programme programme(Source(rows, visibles, dtype, device, visible.binary()), order, count, o.batch_size,
                            alike ? o.k + 1 : 0, kinds);
        const std::optional<Diverged> diverged = programme.run(training, tick);
        training.report();
        return diverged;
    });
}

}  // namespace unsupfast
