// Contrastive training, mini-batch by mini-batch: data rows, model rows, gradient, step.
#include <algorithm>
#include <cmath>

#include "kernels/layout/op.h"
#include "rbm/minibatch.h"
#include "rbm/rbm.h"
#include "rbm/step.h"
#include "registry.h"

namespace unsupfast {
namespace {

// Bounds of the learned log variance: data are expected standardised or in [0, 1].
constexpr double kMinLogVariance = -7, kMaxLogVariance = 4;

constexpr double kActivityDecay = 0.99;  // of the sliding mean of hidden activities

constexpr double kMaxGap = 10, kMaxAsymmetry = 0.9;  // bounds of the learned shapes of double rectified units

template <class T>
bool all_finite(const T* x, int64_t n) {
    T s = 0;
    for (int64_t i = 0; i < n; ++i) s += x[i] * T(0);
    return s == T(0);
}

// Adds to `gradient` (gaps, then asymmetries) the derivatives of the log weights of double rectified units.
template <class T>
void add_shape_gradient(const Layer& layer, const T* states, int64_t count, const T* contrast, const T* shape,
                        T* gradient) {
    const int64_t n = layer.size();
    for (const Segment& s : layer.segments) {
        if (s.unit != Unit::drelu) continue;
        for (int64_t b = 0; b < count; ++b)
            for (int64_t j = s.begin; j < s.end; ++j) {
                const T y = states[b * n + j], side = y < 0 ? T(-1) : T(1), width = T(1) + side * shape[n + j];
                gradient[j] -= contrast[b] * side * y;
                gradient[n + j] += contrast[b] * side * y * y / (2 * width * width);
            }
    }
}

}  // namespace

// One call of Rbm::train: its buffers, and the parts of an update in their order.
template <class T>
class Training {
  public:
    Training(Rbm& r, const TrainOptions& o, int64_t max_batch)
        : r(r),
          o(o),
          V(r.visibles),
          H(r.hiddens),
          levels(std::max<int64_t>(1, int64_t(o.temperatures.size()))),
          model_rows(o.persistent ? r.chains.count() / levels : max_batch),
          gaussian(r.visible.has(Unit::gaussian)),
          counts(r.visible.has(Unit::multinomial)),
          rank(o.centering || o.sparsity_target >= 0),
          staged(o.adam || o.clip_norm > 0),
          batch(r.visible, max_batch + model_rows, r.dtype),
          activities(r.dtype, (max_batch + model_rows) * H),
          contrast(size_t(max_batch + model_rows)),
          share(contrast.size()),
          bias_contrast(counts ? contrast.size() : 0),
          dv(size_t(V)),
          dh(size_t(H)),
          dz(gaussian && o.learn_sigma ? size_t(V) : 0),
          visible_dshape(o.learn_shape && r.visible.has(Unit::drelu) ? size_t(2 * V) : 0),
          hidden_dshape(o.learn_shape && r.hidden.has(Unit::drelu) ? size_t(2 * H) : 0),
          row_dot(size_t(V)),
          rank_right(size_t(H)),
          mean_h(size_t(H)),
          offset_shift(size_t(V)),
          row_scale(size_t(V)) {
        if (!o.persistent || !hidden_dshape.empty()) of_data = States(r.hidden, max_batch, r.dtype);
        if (o.persistent && levels > 1) tempered = States(r.visible, r.chains.count(), r.dtype);
        if (o.centering) turned_step = Array(r.dtype, panel_elements(r.dtype, H, V));
        if (staged) {
            gradient = Array(r.dtype, r.weights_.size());
            before = Array(r.dtype, r.weights_.size());
        }
        if (o.adam) {
            r.second.reserve(r.dtype, r.velocity.size());
            r.bias_second.reserve(r.dtype, r.bias_velocity.size());
        }
    }

    // The mini-batch of `count` rows at `order`. False: stopped, nothing learned.
    bool update(const Rows& rows, const int64_t* order, int64_t count, const T* weight,
                const std::function<bool()>& go_on) {
        B = count;
        C = o.persistent ? model_rows : B;
        if (!weigh(order, weight)) return true;  // a batch of zero weight teaches nothing
        batch.gather(rows, order, B);
        r.sum_counts(rows, order, B, totals);
        if (!data_rows() || !model_rows_by_gibbs(go_on)) return false;
        batch.finish(C);
        bias_gradients();
        if (rank) correct();
        weights_and_step();
        r.step += uint64_t(o.k) + 1;
        return true;
    }

    // What stopped being finite, or null.
    const char* diverged() {
        if (!r.refresh()) return "weights";
        if (!all_finite(r.visible_bias_.template as<T>(), V)) return "visible biases";
        if (!all_finite(r.hidden_bias_.template as<T>(), H)) return "hidden biases";
        return nullptr;
    }

  private:
    // Draws of a purpose; false if there are none left to give.
    bool draw(Stream stream, int k, int64_t n, Draw& d) {
        d = Draw{r.seed, uint32_t(r.step + uint64_t(k)), stream, 0};
        return !o.uniforms || (d.given = o.uniforms(n));
    }

    // Weights of rows in the contrast. It is summed unnormalised, which keeps sums over unweighted binary units exact,
    // and scaled by 1 / total where a gradient is finished.
    bool weigh(const int64_t* order, const T* weight) {
        total = 0;
        for (int64_t b = 0; b < B; ++b) total += share[size_t(b)] = weight ? weight[order[b]] : T(1);
        if (!(total > 0)) return false;
        for (int64_t b = 0; b < B; ++b) contrast[size_t(b)] = share[size_t(b)];
        for (int64_t c = 0; c < C; ++c)
            contrast[size_t(B + c)] = o.persistent ? -total / T(o.balanced ? C : B) : -share[size_t(c)];
        return true;
    }

    bool data_rows() {
        Draw positive{};
        Outputs out{};
        if (of_data.count()) {
            if (!draw(kPositive, 0, B * H, positive)) return false;
            out = of_data.samples();
        }
        out.mean = activities.as<T>();
        r.hidden_given_visible(batch.data(), B, out, positive, totals.data());
        if (!hidden_dshape.empty()) {
            std::fill(hidden_dshape.begin(), hidden_dshape.end(), T(0));
            add_shape_gradient(r.hidden, static_cast<const T*>(of_data.values()), B, contrast.data(),
                               r.hidden_shape.as<T>(), hidden_dshape.data());
        }
        return true;
    }

    bool model_rows_by_gibbs(const std::function<bool()>& go_on) {
        if (o.fast_rate > 0) r.exchange();
        const bool done = tempered.count() ? temper(go_on) : gibbs(go_on);
        if (o.fast_rate > 0) r.exchange();
        return done;
    }

    bool gibbs(const std::function<bool()>& go_on) {
        States& chain = o.persistent ? r.chains : of_data;
        for (int k = 1; k <= o.k; ++k) {
            const bool last = k == o.k, keep = !last || o.persistent || !hidden_dshape.empty();
            Draw of_visibles{}, of_hiddens{};
            if (!draw(kVisible, k, C * V, of_visibles)) return false;
            r.visible_given_hidden(chain.left(), C, batch.model(last), of_visibles, model_totals());
            if (keep && !draw(kHidden, k, C * H, of_hiddens)) return false;
            Outputs out = keep ? chain.samples() : Outputs{};
            out.mean = last ? activities.as<T>() + B * H : nullptr;
            r.hidden_given_visible(batch.model_states(), C, out, of_hiddens, model_totals());
            if (!go_on()) return false;
        }
        return true;
    }

    bool temper(const std::function<bool()>& go_on) {
        for (int k = 1; k <= o.k; ++k) {
            T* mean = k == o.k ? activities.as<T>() + B * H : nullptr;
            r.temper(r.chains, tempered, o, r.step + uint64_t(k), mean, r.chain_totals.data());
            if (!go_on()) return false;
        }
        batch.set_model(tempered, (levels - 1) * C, C);
        return true;
    }

    const T* model_totals() const {
        if (!counts) return nullptr;
        return o.persistent ? r.chain_totals.as<T>() + (levels - 1) * C : totals.as<T>();
    }

    void bias_gradients() {
        run(ColumnSum{B + C, V, batch.all(), contrast.data(), 0, dv.data(), r.dtype});
        if (counts)  // a hidden bias counts as often as the row does
            for (int64_t b = 0; b < B + C; ++b)
                bias_contrast[size_t(b)] = contrast[size_t(b)] * (b < B ? totals.as<T>()[b] : model_totals()[b - B]);
        const Left h{activities.data(), H, 1};
        run(ColumnSum{B + C, H, h, counts ? bias_contrast.data() : contrast.data(), 0, dh.data(), r.dtype});
        for (T& g : dh) g /= total;
        for (int64_t i = 0; i < V; ++i) {
            row_scale[size_t(i)] = (gaussian ? r.precision_.as<T>()[i] : T(1)) / total;
            dv[size_t(i)] *= row_scale[size_t(i)];
        }
    }

    // Centring and sparsity: corrections of rank one or two.
    void correct() {
        for (int64_t b = 0; b < B; ++b) share[size_t(b)] /= total;
        run(ColumnSum{B, H, Left{activities.data(), H, 1}, share.data(), 0, mean_h.data(), r.dtype});
        const T decay = r.step == 0 ? T(0) : T(kActivityDecay);
        T* q = r.hidden_offset.template as<T>();
        for (int64_t j = 0; j < H; ++j) {
            q[j] = decay * q[j] + (1 - decay) * mean_h[size_t(j)];
            const T push = o.sparsity_target >= 0 ? T(o.sparsity_cost) * (T(o.sparsity_target) - q[j]) : T(0);
            rank_right[size_t(j)] = (o.centering ? dh[size_t(j)] : T(0)) - push;
            dh[size_t(j)] += push;
        }
    }

    WeightUpdate weight_update() {
        WeightUpdate u{};
        u.visibles = V;
        u.hiddens = H;
        u.rows = B + C;
        u.visible = batch.turned();
        u.hidden = activities.data();
        u.contrast = contrast.data();
        u.weights = r.weights_.data();
        u.velocity = o.momentum != 0 || o.centering ? r.velocity.data() : nullptr;
        u.row_scale = row_scale.data();
        if (rank) {
            for (int64_t i = 0; i < V; ++i)
                offset_shift[size_t(i)] = r.visible_offset.as<T>()[i] * (gaussian ? r.precision_.as<T>()[i] : T(1));
            u.left[0] = offset_shift.data();
            u.right[0] = rank_right.data();
        }
        if (o.centering) {
            u.left[1] = dv.data();
            u.right[1] = r.hidden_offset.data();
        }
        u.row_dot = dz.empty() ? nullptr : row_dot.data();
        u.rate = o.learning_rate;
        u.momentum = o.momentum;
        u.l2 = o.l2;
        u.l1 = o.l1;
        u.dtype = r.dtype;
        u.format = r.format == DType::i16 && !batch.turned().bits ? r.dtype : r.format;
        return u;
    }

    void weights_and_step() {
        const WeightUpdate u = weight_update();
        if (staged) {  // the gradient by itself, so that all of it is known before a step is made
            std::memcpy(before.data(), r.weights_.data(), size_t(before.size()) * sizeof(T));
            WeightUpdate only = u;
            only.velocity = gradient.data();
            only.rate = 1;
            only.momentum = 0;
            run(only);
            std::memcpy(r.weights_.data(), before.data(), size_t(before.size()) * sizeof(T));
        } else {
            run(u);
        }
        if (!dz.empty()) variance_gradient();
        shape_gradients();

        double factor = 1;
        if (o.clip_norm > 0) {
            double sum = squared_norm(gradient.as<T>(), gradient.size());
            for (const auto* part : {&dv, &dh, &dz, &visible_dshape, &hidden_dshape})
                sum += squared_norm(part->data(), int64_t(part->size()));
            factor = std::min(1.0, o.clip_norm / std::sqrt(sum));
        }
        ++r.updates;
        if (staged)
            step(r.weights_, r.velocity.template as<T>(), r.second.template as<T>(), gradient.as<T>(), gradient.size(),
                 factor);
        if (o.max_norm > 0) limit_norms(r.weights_.template as<T>(), V, H, o.max_norm);

        // biases, log variances and shapes follow each other in bias_velocity
        int64_t at = 0;
        const auto small = [&](Array& parameter, std::vector<T>& g, int64_t room) {
            if (!g.empty())
                step(parameter, r.bias_velocity.template as<T>() + at,
                     o.adam ? r.bias_second.template as<T>() + at : nullptr, g.data(), int64_t(g.size()), factor);
            at += room;
        };
        small(r.visible_bias_, dv, V);
        small(r.hidden_bias_, dh, H);
        if (o.centering) follow_offsets();
        small(r.log_variance_, dz, V);
        small(r.visible_shape, visible_dshape, 2 * V);
        small(r.hidden_shape, hidden_dshape, 2 * H);
        bound();
        if (o.fast_rate > 0) r.template make_fast<T>(o, u, dv.data(), dh.data());
    }

    // One parameter's step up its gradient times `factor`.
    void step(Array& parameter, T* first, T* second, const T* g, int64_t n, double factor) {
        if (o.adam) {
            const double c1 = 1 - std::pow(o.momentum, double(r.updates));
            const double c2 = 1 - std::pow(o.second_decay, double(r.updates));
            adam_step(parameter.as<T>(), first, second, g, n, o, c1, c2, factor);
        } else {
            momentum_step(parameter.as<T>(), first, g, n, o.learning_rate * factor, o.momentum);
        }
    }

    // In centred form the biases follow the weights, a_centred = a + W lambda, by the step made on these.
    void follow_offsets() {
        const Array* made = &r.velocity;
        if (o.adam) {
            for (int64_t i = 0; i < before.size(); ++i) before.as<T>()[i] = r.weights_.as<T>()[i] - before.as<T>()[i];
            made = &before;
        }
        run(TurnPanels{V, H, made->data(), turned_step.data(), nullptr, nullptr, r.dtype, r.dtype});
        run(Gemm{1, V, H, Left{r.hidden_offset.data()}, turned_step.data(), r.visible_bias_.data(), V, -1, 1, r.dtype,
                 r.dtype});
        run(Gemm{1, H, V, Left{offset_shift.data()}, made->data(), r.hidden_bias_.data(), H, -1, 1, r.dtype, r.dtype});
    }

    // d log p / d log sigma^2 = E[(v - a)^2] / (2 sigma^2) - E[v W h] / sigma^2, data minus model
    void variance_gradient() {
        std::fill(dz.begin(), dz.end(), T(0));
        const T* a = r.visible_bias_.template as<T>();
        for (const Segment& s : r.visible.segments) {
            if (s.unit != Unit::gaussian) continue;
            for (int64_t b = 0; b < B + C; ++b)
                for (int64_t i = s.begin; i < s.end; ++i) {
                    const T d = batch.values()[b * V + i] - a[i];
                    dz[size_t(i)] += contrast[size_t(b)] * d * d;
                }
            for (int64_t i = s.begin; i < s.end; ++i)
                dz[size_t(i)] = row_scale[size_t(i)] * (dz[size_t(i)] / 2 - row_dot[size_t(i)]);
        }
    }

    void shape_gradients() {
        if (!visible_dshape.empty()) {
            std::fill(visible_dshape.begin(), visible_dshape.end(), T(0));
            add_shape_gradient(r.visible, batch.values(), B + C, contrast.data(), r.visible_shape.as<T>(),
                               visible_dshape.data());
        }
        if (!hidden_dshape.empty()) {
            const States& chain = o.persistent ? r.chains : of_data;
            add_shape_gradient(r.hidden, static_cast<const T*>(chain.values((levels - 1) * C)), C, contrast.data() + B,
                               r.hidden_shape.as<T>(), hidden_dshape.data());
        }
        for (T& g : visible_dshape) g /= total;
        for (T& g : hidden_dshape) g /= total;
    }

    // Keeps variances and shapes where they make sense.
    void bound() {
        const auto clamp = [](T* x, size_t n, double low, double high) {
            for (size_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], T(low), T(high));
        };
        clamp(r.log_variance_.template as<T>(), dz.size(), kMinLogVariance, kMaxLogVariance);
        if (!dz.empty()) r.set_log_variance(nullptr);
        for (const auto& [shape, gradient] :
             {std::pair(&r.visible_shape, &visible_dshape), std::pair(&r.hidden_shape, &hidden_dshape)}) {
            const size_t n = gradient->size() / 2;
            clamp(shape->template as<T>(), n, -kMaxGap, kMaxGap);
            clamp(shape->template as<T>() + n, n, -kMaxAsymmetry, kMaxAsymmetry);
        }
    }

    Rbm& r;
    const TrainOptions& o;
    const int64_t V, H, levels, model_rows;
    const bool gaussian, counts, rank, staged;
    Minibatch<T> batch;
    Array activities;  // hidden means, in the order of the batch's rows
    States of_data;    // hidden samples, where chains start from the data
    States tempered;   // visible states at every temperature
    Array totals;      // of the data's counts
    std::vector<T> contrast, share, bias_contrast;
    std::vector<T> dv, dh, dz, visible_dshape, hidden_dshape;  // gradients
    std::vector<T> row_dot, rank_right, mean_h, offset_shift, row_scale;
    Array turned_step, gradient, before;
    int64_t B = 0, C = 0;  // rows of data and of the model
    T total = 0;           // weight of the rows of data
};

std::optional<Diverged> Rbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const TrainOptions& o, const std::function<bool(int64_t)>& tick) {
    return by_dtype(dtype, [&]<class T>(T) -> std::optional<Diverged> {
        Training<T> training(*this, o, std::min(o.batch_size, std::max<int64_t>(count, 1)));
        if (o.fast_rate > 0) prepare_fast();
        for (int64_t first = 0; first < count; first += o.batch_size) {
            const int64_t B = std::min(o.batch_size, count - first);
            const auto go_on = [&] { return tick(first); };
            if (!training.update(rows, order + first, B, static_cast<const T*>(weight), go_on)) break;
            if (const char* tensor = training.diverged()) return Diverged{first / o.batch_size, tensor};
            if (!tick(first + B)) break;
        }
        return std::nullopt;
    });
}

// ---------------------------------------------------------------------- fast weights

void Rbm::exchange() {
    std::swap(weights_, sampling_weights_);
    std::swap(to_hidden_, sampling_to_hidden_);
    std::swap(to_visible_, sampling_to_visible_);
    std::swap(visible_bias_, sampling_visible_bias_);
    std::swap(hidden_bias_, sampling_hidden_bias_);
}

void Rbm::prepare_fast() {
    fast.reserve(dtype, weights_.size());
    fast_bias.reserve(dtype, visibles + hiddens);
    sampling_weights_.reserve(dtype, weights_.size());
    if (format != dtype) sampling_to_hidden_.reserve(format, to_hidden_.size());
    sampling_to_visible_.reserve(format, to_visible_.size());
    sampling_visible_bias_.reserve(dtype, visibles);
    sampling_hidden_bias_.reserve(dtype, hiddens);
    by_dtype(dtype, [&]<class T>(T) { add_fast<T>(); });
}

// The parameters that the model's chains are sampled with: the slow ones and the fast ones.
template <class T>
void Rbm::add_fast() {
    const auto sum = [](Array& to, const Array& a, const T* b) {
        for (int64_t i = 0; i < a.size(); ++i) to.as<T>()[i] = a.as<T>()[i] + b[i];
    };
    sum(sampling_weights_, weights_, fast.as<T>());
    sum(sampling_visible_bias_, visible_bias_, fast_bias.as<T>());
    sum(sampling_hidden_bias_, hidden_bias_, fast_bias.as<T>() + visibles);
    exchange();
    refresh();
    exchange();
}

template <class T>
void Rbm::make_fast(const TrainOptions& o, WeightUpdate u, const T* dv, const T* dh) {
    u.weights = sampling_weights_.data();  // what becomes of it is not needed: add_fast makes it anew
    u.velocity = fast.data();
    u.row_dot = nullptr;
    u.rate = o.fast_rate;
    u.momentum = o.fast_decay;
    u.l2 = u.l1 = 0;
    run(u);
    T* f = fast_bias.as<T>();
    for (int64_t i = 0; i < visibles; ++i) f[i] = T(o.fast_decay) * f[i] + T(o.fast_rate) * dv[i];
    for (int64_t j = 0; j < hiddens; ++j) f[visibles + j] = T(o.fast_decay) * f[visibles + j] + T(o.fast_rate) * dh[j];
    add_fast<T>();
}

}  // namespace unsupfast
