// Contrastive training, mini-batch by mini-batch: data rows, model rows, gradient, step.
#include <algorithm>
#include <cmath>

#include "kernels/layout/op.h"
#include "rbm/minibatch.h"
#include "rbm/rbm.h"
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

// velocity = momentum velocity + rate gradient; parameter += velocity
template <class T>
void momentum_step(T* parameter, T* velocity, const T* gradient, int64_t n, double rate, double momentum) {
    for (int64_t i = 0; i < n; ++i) {
        velocity[i] = T(momentum) * velocity[i] + T(rate) * gradient[i];
        parameter[i] += velocity[i];
    }
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

std::optional<Diverged> Rbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const TrainOptions& options, const std::function<bool(int64_t)>& tick) {
    return by_dtype(dtype, [&]<class T>(T) { return train_as<T>(rows, order, count, weight, options, tick); });
}

template <class T>
std::optional<Diverged> Rbm::train_as(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                      const TrainOptions& o, const std::function<bool(int64_t)>& tick) {
    const int64_t V = visibles, H = hiddens, max_batch = std::min(o.batch_size, std::max<int64_t>(count, 1));
    const int64_t model_rows = o.persistent ? chains.count() : max_batch;
    const bool gaussian = visible.has(Unit::gaussian), counts = visible.has(Unit::multinomial);
    const bool hidden_shapes = o.learn_shape && hidden.has(Unit::drelu);
    const bool visible_shapes = o.learn_shape && visible.has(Unit::drelu);
    Minibatch<T> batch(visible, max_batch + model_rows, dtype);
    Array activities(dtype, (max_batch + model_rows) * H);  // hidden means, in the order of the batch's rows
    States of_data;                                         // hidden samples, where chains start from the data
    if (!o.persistent || hidden_shapes) of_data = States(hidden, max_batch, dtype);
    Array totals;  // of the data's counts
    std::vector<T> visible_dshape(visible_shapes ? 2 * V : 0), hidden_dshape(hidden_shapes ? 2 * H : 0);
    std::vector<T> contrast(max_batch + model_rows), share(max_batch + model_rows), bias_contrast;
    if (counts) bias_contrast.resize(contrast.size());
    std::vector<T> dv(V), dh(H), dz(V), row_dot(V), rank_right(H), mean_h(H), offset_shift(V), row_scale(V);
    Array turned_step;
    if (o.centering) turned_step = Array(dtype, panel_elements(dtype, H, V));
    T* h = activities.as<T>();
    T* velocities = bias_velocity.as<T>();
    const bool rank = o.centering || o.sparsity_target >= 0;

    for (int64_t first = 0; first < count; first += o.batch_size) {
        const int64_t B = std::min(o.batch_size, count - first), C = o.persistent ? chains.count() : B;
        bool stopped = false;
        const auto draw = [&](Stream stream, int k, int64_t n) {
            Draw d{seed, uint32_t(step + uint64_t(k)), stream, 0};
            if (o.uniforms) stopped = !(d.given = o.uniforms(n));
            return d;
        };
        const auto finite_or = [&](bool ok, const char* tensor) {
            return ok ? std::nullopt : std::optional(Diverged{first / o.batch_size, tensor});
        };

        // ---- data
        T total = 0;
        for (int64_t b = 0; b < B; ++b)
            total += share[size_t(b)] = weight ? static_cast<const T*>(weight)[order[first + b]] : T(1);
        if (!(total > 0)) {  // a batch of zero weight teaches nothing
            if (!tick(first + B)) break;
            continue;
        }
        // The contrast is summed unnormalised, which keeps sums over unweighted binary units exact, and
        // scaled by 1 / total where a gradient is finished.
        for (int64_t b = 0; b < B; ++b) contrast[size_t(b)] = share[size_t(b)];
        for (int64_t c = 0; c < C; ++c)
            contrast[size_t(B + c)] = o.persistent ? -total / T(o.balanced ? C : B) : -share[size_t(c)];
        batch.gather(rows, order + first, B);
        sum_counts(rows, order + first, B, totals);
        States& chain = o.persistent ? chains : of_data;
        const void* model_totals = o.persistent ? chain_totals.data() : totals.data();
        const Draw positive = of_data.count() ? draw(kPositive, 0, B * H) : Draw{};
        if (stopped) return std::nullopt;
        Outputs of_hiddens = of_data.count() ? of_data.samples() : Outputs{};
        of_hiddens.mean = h;
        hidden_given_visible(batch.data(), B, of_hiddens, positive, totals.data());
        if (hidden_shapes) {
            std::fill(hidden_dshape.begin(), hidden_dshape.end(), T(0));
            add_shape_gradient(hidden, static_cast<const T*>(of_data.values()), B, contrast.data(),
                               hidden_shape.as<T>(), hidden_dshape.data());
        }

        // ---- model
        for (int k = 1; k <= o.k; ++k) {
            const bool last = k == o.k;
            const Draw of_visibles = draw(kVisible, k, C * V);
            if (stopped) return std::nullopt;
            visible_given_hidden(chain.left(), C, batch.model(last), of_visibles, model_totals);
            const bool keep = !last || o.persistent || hidden_shapes;
            const Draw hidden_draw = keep ? draw(kHidden, k, C * H) : Draw{};
            if (stopped) return std::nullopt;
            of_hiddens = keep ? chain.samples() : Outputs{};
            of_hiddens.mean = last ? h + B * H : nullptr;
            hidden_given_visible(batch.model_states(), C, of_hiddens, hidden_draw, model_totals);
            if (!tick(first)) return std::nullopt;
        }
        batch.finish(C);

        // ---- gradients of the biases
        run(ColumnSum{B + C, V, batch.all(), contrast.data(), 0, dv.data(), dtype});
        if (counts) {  // a hidden bias counts as often as the row does
            for (int64_t b = 0; b < B + C; ++b)
                bias_contrast[size_t(b)] =
                    contrast[size_t(b)] * (b < B ? totals.as<T>()[b] : static_cast<const T*>(model_totals)[b - B]);
        }
        run(ColumnSum{B + C, H, Left{h, H, 1}, counts ? bias_contrast.data() : contrast.data(), 0, dh.data(), dtype});
        for (int64_t j = 0; j < H; ++j) dh[size_t(j)] /= total;
        for (int64_t i = 0; i < V; ++i) {
            row_scale[size_t(i)] = (gaussian ? precision_.as<T>()[i] : T(1)) / total;
            dv[size_t(i)] *= row_scale[size_t(i)];
        }

        // ---- centring and sparsity: corrections of rank one or two
        if (rank) {
            for (int64_t b = 0; b < B; ++b) share[size_t(b)] /= total;
            run(ColumnSum{B, H, Left{h, H, 1}, share.data(), 0, mean_h.data(), dtype});
            const T decay = step == 0 ? T(0) : T(kActivityDecay);
            T* q = hidden_offset.as<T>();
            for (int64_t j = 0; j < H; ++j) {
                q[j] = decay * q[j] + (1 - decay) * mean_h[size_t(j)];
                const T push = o.sparsity_target >= 0 ? T(o.sparsity_cost) * (T(o.sparsity_target) - q[j]) : T(0);
                rank_right[size_t(j)] = (o.centering ? dh[size_t(j)] : T(0)) - push;
                dh[size_t(j)] += push;
            }
        }

        // ---- weights
        WeightUpdate u{};
        u.visibles = V;
        u.hiddens = H;
        u.rows = B + C;
        u.visible = batch.turned();
        u.hidden = h;
        u.contrast = contrast.data();
        u.weights = weights_.data();
        u.velocity = o.momentum != 0 || o.centering ? velocity.data() : nullptr;
        u.row_scale = row_scale.data();
        if (rank) {
            for (int64_t i = 0; i < V; ++i)
                offset_shift[size_t(i)] = visible_offset.as<T>()[i] * (gaussian ? precision_.as<T>()[i] : T(1));
            u.left[0] = offset_shift.data();
            u.right[0] = rank_right.data();
        }
        if (o.centering) {
            u.left[1] = dv.data();
            u.right[1] = hidden_offset.data();
        }
        u.row_dot = gaussian && o.learn_sigma ? row_dot.data() : nullptr;
        u.rate = o.learning_rate;
        u.momentum = o.momentum;
        u.l2 = o.l2;
        u.l1 = o.l1;
        u.dtype = dtype;
        u.format = format == DType::i16 && !batch.turned().bits ? dtype : format;
        run(u);

        if (gaussian && o.learn_sigma) {
            // d log p / d log sigma^2 = E[(v - a)^2] / (2 sigma^2) - E[v W h] / sigma^2, data minus model
            std::fill(dz.begin(), dz.end(), T(0));
            const T* a = visible_bias_.as<T>();
            for (const Segment& s : visible.segments) {
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

        // ---- biases; in centred form the biases follow the weights: a_centred = a + W lambda
        momentum_step(visible_bias_.as<T>(), velocities, dv.data(), V, o.learning_rate, o.momentum);
        momentum_step(hidden_bias_.as<T>(), velocities + V, dh.data(), H, o.learning_rate, o.momentum);
        if (o.centering) {
            // velocity is the step just made on the weights
            run(TurnPanels{V, H, velocity.data(), turned_step.data(), nullptr, nullptr, dtype, dtype});
            run(Gemm{1, V, H, Left{hidden_offset.data()}, turned_step.data(), visible_bias_.data(), V, -1, 1, dtype,
                     dtype});
            run(Gemm{1, H, V, Left{offset_shift.data()}, velocity.data(), hidden_bias_.data(), H, -1, 1, dtype, dtype});
        }
        if (gaussian && o.learn_sigma) {
            momentum_step(log_variance_.as<T>(), velocities + V + H, dz.data(), V, o.learning_rate, o.momentum);
            for (int64_t i = 0; i < V; ++i)
                log_variance_.as<T>()[i] = std::clamp(log_variance_.as<T>()[i], T(kMinLogVariance), T(kMaxLogVariance));
            set_log_variance(nullptr);
        }

        // ---- shapes
        const auto shape_step = [&](Array& shape, std::vector<T>& gradient, T* shape_velocity) {
            const int64_t n = int64_t(gradient.size()) / 2;
            for (T& g : gradient) g /= total;
            momentum_step(shape.as<T>(), shape_velocity, gradient.data(), 2 * n, o.learning_rate, o.momentum);
            for (int64_t j = 0; j < n; ++j) {
                shape.as<T>()[j] = std::clamp(shape.as<T>()[j], T(-kMaxGap), T(kMaxGap));
                shape.as<T>()[n + j] = std::clamp(shape.as<T>()[n + j], T(-kMaxAsymmetry), T(kMaxAsymmetry));
            }
        };
        if (visible_shapes) {
            std::fill(visible_dshape.begin(), visible_dshape.end(), T(0));
            add_shape_gradient(visible, batch.values(), B + C, contrast.data(), visible_shape.as<T>(),
                               visible_dshape.data());
            shape_step(visible_shape, visible_dshape, velocities + 2 * V + H);
        }
        if (hidden_shapes) {
            add_shape_gradient(hidden, static_cast<const T*>(chain.values()), C, contrast.data() + B,
                               hidden_shape.as<T>(), hidden_dshape.data());
            shape_step(hidden_shape, hidden_dshape, velocities + 4 * V + H);
        }

        if (auto bad = finite_or(refresh(), "weights")) return bad;
        if (auto bad = finite_or(all_finite(visible_bias_.as<T>(), V), "visible biases")) return bad;
        if (auto bad = finite_or(all_finite(hidden_bias_.as<T>(), H), "hidden biases")) return bad;
        step += uint64_t(o.k) + 1;
        if (!tick(first + B)) break;
    }
    return std::nullopt;
}

}  // namespace unsupfast
