#include "rbm/rbm.h"

#include <algorithm>
#include <cmath>

#include "registry.h"

namespace unsupfast {
namespace {

// Which draws belong to which purpose; see philox.h.
enum Stream : uint32_t { kPositive = 0, kVisible = 1, kHidden = 2, kSampling = 16, kAnnealing = 32 };

// Bounds of the learned log variance: data are expected standardised or in [0, 1].
constexpr double kMinLogVariance = -7, kMaxLogVariance = 4;

constexpr double kActivityDecay = 0.99;  // of the sliding mean of hidden activities

template <class F>
decltype(auto) by_dtype(DType dtype, F&& f) {
    return dtype == DType::f64 ? f(double{}) : f(float{});
}

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

template <class T>
void copy_row(const Rows& rows, int64_t row, T* to, int64_t n) {
    const T* data = static_cast<const T*>(rows.data);
    if (!rows.indptr) {
        std::copy_n(data + row * rows.row_stride, n, to);
        return;
    }
    std::fill_n(to, n, T(0));
    for (int64_t e = rows.indptr[row]; e < rows.indptr[row + 1]; ++e) to[rows.indices[e]] = data[e];
}

// The rows of one mini-batch followed by the model's rows, as CSR and transposed: what the gradient of a
// sparse batch is computed from.
template <class T>
struct SparseBatch {
    std::vector<int64_t> indptr, turned_indptr;
    std::vector<int32_t> indices, turned_indices;
    std::vector<T> values, turned_values;

    void clear() {
        indptr.assign(1, 0);
        indices.clear();
        values.clear();
    }
    void add(const Rows& rows, int64_t row) {
        const int64_t begin = rows.indptr[row], end = rows.indptr[row + 1];
        indices.insert(indices.end(), rows.indices + begin, rows.indices + end);
        values.insert(values.end(), static_cast<const T*>(rows.data) + begin, static_cast<const T*>(rows.data) + end);
        indptr.push_back(int64_t(indices.size()));
    }
    void add_dense(const T* row, int64_t n) {
        for (int64_t j = 0; j < n; ++j)
            if (row[j] != T(0)) {
                indices.push_back(int32_t(j));
                values.push_back(row[j]);
            }
        indptr.push_back(int64_t(indices.size()));
    }
    void turn(int64_t cols) {
        const int64_t rows = int64_t(indptr.size()) - 1;
        turned_indptr.assign(size_t(cols) + 1, 0);
        turned_indices.resize(indices.size());
        turned_values.resize(values.size());
        for (int32_t j : indices) ++turned_indptr[size_t(j) + 1];
        for (int64_t j = 0; j < cols; ++j) turned_indptr[size_t(j) + 1] += turned_indptr[size_t(j)];
        std::vector<int64_t> next(turned_indptr.begin(), turned_indptr.end() - 1);
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t e = indptr[size_t(i)]; e < indptr[size_t(i) + 1]; ++e) {
                const int64_t at = next[size_t(indices[size_t(e)])]++;
                turned_indices[size_t(at)] = int32_t(i);
                turned_values[size_t(at)] = values[size_t(e)];
            }
    }
    Left left() const { return {values.data(), 0, 1, indptr.data(), indices.data(), nullptr}; }
    Left turned() const { return {turned_values.data(), 0, 1, turned_indptr.data(), turned_indices.data(), nullptr}; }
};

}  // namespace

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

void Rbm::set_chains(const void* states, int64_t count) {
    chains.reserve(dtype, count * hiddens);
    n_chains = count;
    std::memcpy(chains.data(), states, size_t(count * hiddens * element_size(dtype)));
}

bool Rbm::refresh() {
    int32_t nonfinite = 0;
    run(TurnPanels{visibles, hiddens, weights_.data(), to_visible_.data(), to_hidden_.data(), &nonfinite, dtype,
                   format});
    return !nonfinite;
}

Left Rbm::visible_states(const void* data, int64_t row_stride) const {
    Left left{data, row_stride, 1};
    if (visible == Unit::gaussian) left.k_scale = precision_.data();
    return left;
}

void Rbm::hidden_given_visible(const Rows& v, void* mean, void* sample, void* log_partition, const Draw& draw) {
    Left states = visible_states(v.data, v.row_stride);
    states.indptr = v.indptr;
    states.indices = v.indices;
    run(HalfStep{v.count, hiddens, visibles, states, to_hidden_ ? to_hidden_.data() : weights_.data(),
                 hidden_bias_.data(), nullptr, 1, Unit::bernoulli, mean, sample, log_partition, -1, draw, dtype,
                 format});
}

void Rbm::visible_given_hidden(const void* h, int64_t count, void* mean, void* sample, const Draw& draw) {
    run(HalfStep{count, visibles, hiddens, Left{h, hiddens, 1}, to_visible_.data(), visible_bias_.data(), sigma_.data(),
                 1, visible, mean, sample, nullptr, -1, draw, dtype, format});
}

std::optional<Diverged> Rbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const TrainOptions& options, const std::function<bool(int64_t)>& tick) {
    return by_dtype(dtype, [&]<class T>(T) { return train_as<T>(rows, order, count, weight, options, tick); });
}

template <class T>
std::optional<Diverged> Rbm::train_as(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                      const TrainOptions& o, const std::function<bool(int64_t)>& tick) {
    const int64_t V = visibles, H = hiddens, max_batch = std::min(o.batch_size, std::max<int64_t>(count, 1));
    const int64_t model_rows = o.persistent ? n_chains : max_batch;
    const bool gaussian = visible == Unit::gaussian;
    // Gaussian units need every deviation from the mean: sparse rows are unpacked batch by batch.
    const bool sparse = rows.indptr != nullptr && !gaussian;
    // rows [0, B) are data, rows [B, B + C) the model's: one product over both gives the contrast
    Array states(dtype, (max_batch + model_rows) * V), activities(dtype, (max_batch + model_rows) * H);
    Array samples(dtype, std::max(max_batch, model_rows) * H);
    std::vector<T> contrast(max_batch + model_rows), share(max_batch + model_rows);
    std::vector<T> dv(V), dh(H), dz(V), row_dot(V), rank_right(H), mean_h(H), offset_shift(V), row_scale(V);
    Array turned_step;
    if (o.centering) turned_step = Array(dtype, panel_elements(dtype, H, V));
    SparseBatch<T> batch;
    T *v = states.as<T>(), *h = activities.as<T>();
    T* velocities = bias_velocity.as<T>();
    const bool rank = o.centering || o.sparsity_target >= 0;

    for (int64_t first = 0; first < count; first += o.batch_size) {
        const int64_t B = std::min(o.batch_size, count - first), C = o.persistent ? n_chains : B;
        const auto draw = [&](Stream stream, int k) { return Draw{seed, uint32_t(step + uint64_t(k)), stream, 0}; };
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
        for (int64_t c = 0; c < C; ++c) contrast[size_t(B + c)] = o.persistent ? -total / T(C) : -share[size_t(c)];
        if (sparse) batch.clear();
        for (int64_t b = 0; b < B; ++b) {
            const int64_t row = order[first + b];
            if (sparse)
                batch.add(rows, row);
            else
                copy_row(rows, row, v + b * V, V);
        }
        Rows data{B, v, V};
        if (sparse) data = {B, batch.values.data(), 0, batch.indptr.data(), batch.indices.data()};
        T* chain = o.persistent ? chains.as<T>() : samples.as<T>();
        hidden_given_visible(data, h, o.persistent ? nullptr : chain, nullptr, draw(kPositive, 0));

        // ---- model
        T *model_v = v + B * V, *model_h = h + B * H;
        for (int k = 1; k <= o.k; ++k) {
            visible_given_hidden(chain, C, nullptr, model_v, draw(kVisible, k));
            Rows model{C, model_v, V};
            const bool last = k == o.k;
            hidden_given_visible(model, last ? model_h : nullptr, last && !o.persistent ? nullptr : chain, nullptr,
                                 draw(kHidden, k));
        }

        // ---- gradients of the biases
        Left turned{v, 1, V};
        if (sparse) {
            for (int64_t c = 0; c < C; ++c) batch.add_dense(model_v + c * V, V);
            batch.turn(V);
            turned = batch.turned();
        }
        run(ColumnSum{B + C, V, sparse ? batch.left() : Left{v, V, 1}, contrast.data(), 0, dv.data(), dtype});
        run(ColumnSum{B + C, H, Left{h, H, 1}, contrast.data(), 0, dh.data(), dtype});
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
        u.visible = turned;
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
        u.format = format;
        run(u);

        if (gaussian && o.learn_sigma) {
            // d log p / d log sigma^2 = E[(v - a)^2] / (2 sigma^2) - E[v W h] / sigma^2, data minus model
            std::fill(dz.begin(), dz.end(), T(0));
            const T* a = visible_bias_.as<T>();
            for (int64_t b = 0; b < B + C; ++b)
                for (int64_t i = 0; i < V; ++i) {
                    const T d = v[b * V + i] - a[i];
                    dz[size_t(i)] += contrast[size_t(b)] * d * d;
                }
            for (int64_t i = 0; i < V; ++i)
                dz[size_t(i)] = row_scale[size_t(i)] * (dz[size_t(i)] / 2 - row_dot[size_t(i)]);
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

        if (auto bad = finite_or(refresh(), "weights")) return bad;
        if (auto bad = finite_or(all_finite(visible_bias_.as<T>(), V), "visible biases")) return bad;
        if (auto bad = finite_or(all_finite(hidden_bias_.as<T>(), H), "hidden biases")) return bad;
        step += uint64_t(o.k) + 1;
        if (!tick(first + B)) break;
    }
    return std::nullopt;
}

void Rbm::gibbs(void* states, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
                const std::function<bool(int64_t)>& tick) {
    by_dtype(dtype, [&]<class T>(T) {
        T* v = static_cast<T*>(states);
        Array hidden(dtype, count * hiddens), kept;
        if (clamp) {
            kept = Array(dtype, count * visibles);
            std::memcpy(kept.data(), v, size_t(count * visibles) * sizeof(T));
        }
        const auto hold = [&](T* x) {
            if (clamp && x)
                for (int64_t i = 0; i < count * visibles; ++i)
                    if (clamp[i]) x[i] = kept.as<T>()[i];
        };
        for (int64_t s = 0; s < steps; ++s) {
            const bool last = s + 1 == steps;
            hidden_given_visible({count, v, visibles}, nullptr, hidden.data(), nullptr,
                                 {draw_seed, uint32_t(s), kSampling + kHidden, 0});
            visible_given_hidden(hidden.data(), count, last ? mean : nullptr, v,
                                 {draw_seed, uint32_t(s), kSampling + kVisible, 0});
            hold(v);
            if (last) hold(static_cast<T*>(mean));
            if (!tick(s + 1)) return;
        }
    });
}

void Rbm::anneal(void* v, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                 uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    by_dtype(dtype, [&]<class T>(T) {
        anneal_as<T>(static_cast<T*>(v), count, betas, n, static_cast<const T*>(base_bias), log_weight, draw_seed,
                     tick);
    });
}

template <class T>
void Rbm::anneal_as(T* v, int64_t count, const double* betas, int64_t n, const T* base_bias, double* log_weight,
                    uint64_t draw_seed, const std::function<bool(int64_t)>& tick) {
    const bool gaussian = visible == Unit::gaussian;
    Array hidden(dtype, count * hiddens), hidden_bias(dtype, hiddens), visible_bias(dtype, visibles);
    std::vector<T> log_z(count);
    const T *a = visible_bias_.as<T>(), *b = hidden_bias_.as<T>();
    for (int64_t t = 1; t < n; ++t) {
        const double from = betas[t - 1], to = betas[t];
        // The pre-activations x do not depend on the temperature: one product gives the weight's
        // softplus(to x) - softplus(from x) and the sample at `to`. At 0 there is nothing to scale by.
        const double scale = to > 0 ? to : from, ratio = to > 0 ? from / to : 0;
        const double sign = to > 0 ? 1 : -1;
        for (int64_t j = 0; j < hiddens; ++j) hidden_bias.as<T>()[j] = T(scale) * b[j];
        std::fill(log_z.begin(), log_z.end(), T(0));
        const uint32_t draw_step = uint32_t(t);
        run(HalfStep{count,
                     hiddens,
                     visibles,
                     visible_states(v, visibles),
                     to_hidden_ ? to_hidden_.data() : weights_.data(),
                     hidden_bias.data(),
                     nullptr,
                     scale,
                     Unit::bernoulli,
                     nullptr,
                     to > 0 ? hidden.data() : nullptr,
                     log_z.data(),
                     ratio,
                     {draw_seed, draw_step, kAnnealing + kHidden, 0},
                     dtype,
                     format});
        for (int64_t c = 0; c < count; ++c) {
            double linear = 0;
            if (!gaussian)
                for (int64_t i = 0; i < visibles; ++i)
                    linear += double(v[c * visibles + i]) * double(a[i] - base_bias[i]);
            log_weight[c] += sign * double(log_z[size_t(c)]) + (to - from) * linear;
        }
        if (to > 0) {
            // Gaussian visibles keep mean and variance along the path; Bernoulli biases are interpolated
            for (int64_t i = 0; i < visibles; ++i)
                visible_bias.as<T>()[i] = gaussian ? a[i] : T((1 - to) * double(base_bias[i]) + to * double(a[i]));
            run(HalfStep{count,
                         visibles,
                         hiddens,
                         Left{hidden.data(), hiddens, 1},
                         to_visible_.data(),
                         visible_bias.data(),
                         sigma_.data(),
                         to,
                         visible,
                         nullptr,
                         v,
                         nullptr,
                         -1,
                         {draw_seed, draw_step, kAnnealing + kVisible, 0},
                         dtype,
                         format});
        }
        if (!tick(t)) return;
    }
}

}  // namespace unsupfast
