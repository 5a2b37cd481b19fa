// Training of a deep machine, mini-batch by mini-batch: means of the data's hidden units by mean field, the model's
// states by chains that persist, and a step up the difference.
#include <algorithm>
#include <limits>
#include <optional>

#include "dbm/dbm.h"
#include "kernels/contrast/op.h"
#include "rbm/minibatch.h"
#include "rbm/step.h"

namespace unsupfast {
namespace {

constexpr const char* kTensors[] = {"weights", "biases"};  // in the order of the flags

constexpr double kMinLogVariance = -7, kMaxLogVariance = 4;
constexpr double kNoBound = std::numeric_limits<double>::infinity();

}  // namespace

// One call of Dbm::train: its buffers, and the parts of an update in their order.
template <class T>
class DbmTraining {
  public:
    DbmTraining(Dbm& d, const TrainOptions& o, const MeanField& mean_field, int64_t max_batch)
        : d(d),
          o(o),
          mean_field(mean_field),
          C(d.chains[0].count()),
          rank(o.centering || o.sparsity_target >= 0),
          gaussian(d.layer(0).has(Unit::gaussian)),
          batch(d.layer(0), max_batch + C, d.dtype, d.device),
          weights_of_rows(size_t(max_batch + C)),
          contrast(array(max_batch + C)),
          share(array(max_batch)),
          row_dot(array(d.width(0))),
          flags(words(2, d.device)) {
        for (int64_t i = 0; i <= d.depth; ++i) {
            activities.push_back(array(i ? (max_batch + C) * d.width(i) : 0));
            sums.push_back(array(d.width(i)));
            means.push_back(array(d.width(i)));
            evens.push_back(i % 2 || i == 0 ? States() : States(d.layer(i), C, d.dtype, d.device));
        }
        for (const auto& link : d.links) {
            const int64_t V = link->visibles, H = link->hiddens;
            parts.push_back({array(V), array(H), array(V), array(V), array(H),
                             o.centering ? array(panel_elements(d.dtype, H, V)) : Array()});
        }
        if (gaussian && o.learn_sigma) dz = array(d.width(0));
    }

    // The mini-batch of `count` rows at `order`, which is on_device too. False: stopped, nothing learned.
    bool update(const Rows& rows, const int64_t* order, const int64_t* on_device, int64_t count, const T* weight,
                const std::function<bool()>& go_on) {
        B = count;
        if (!weigh(order, weight)) return true;  // a batch of zero weight teaches nothing
        batch.gather(rows, on_device, B);
        std::vector<void*> to;
        for (const Array& a : activities) to.push_back(a.data());
        const int64_t made = d.mean_field(batch.data(), B, to, mean_field, nullptr);
        if (!model_rows(go_on)) return false;
        d.sweeps += uint64_t(made);
        d.rows += uint64_t(B);
        batch.finish(C);
        gradients();
        steps();
        for (const auto& link : d.links) link->refresh(flag(0));
        d.step += uint64_t(o.k) + 1;
        return true;
    }

    // What stopped being finite, or null. A GPU is asked now and then, and when training ends (`last`).
    const char* diverged(bool last) {
        if (d.device.is_gpu() && !last && ++unseen < kLook) return nullptr;
        unseen = 0;
        int32_t found[2];
        copy_memory({}, found, d.device, flags.data(), sizeof found);
        return found[0] ? kTensors[0] : found[1] ? kTensors[1] : nullptr;
    }

  private:
    struct Part {  // of a link, as ContrastGradient names them
        Array dv, dh, row_scale, offset_shift, rank_right, turned_step;
    };

    Array array(int64_t n) const { return Array(d.dtype, n, d.device); }
    int32_t* flag(int i) const { return flags.as<int32_t>() + i; }
    template <class P>
    void run(const P& p) {
        unsupfast::run(p, d.device);
    }

    // Weights of rows in the contrast: the data's own, and chains that together weigh as much.
    bool weigh(const int64_t* order, const T* weight) {
        total = 0;
        for (int64_t b = 0; b < B; ++b) total += weights_of_rows[size_t(b)] = weight ? weight[order[b]] : T(1);
        if (!(total > 0)) return false;
        for (int64_t c = 0; c < C; ++c) weights_of_rows[size_t(B + c)] = -total / T(C);
        copy_memory(d.device, contrast.data(), {}, weights_of_rows.data(), size_t(B + C) * sizeof(T));
        for (int64_t b = 0; b < B; ++b) weights_of_rows[size_t(b)] /= total;
        copy_memory(d.device, share.data(), {}, weights_of_rows.data(), size_t(B) * sizeof(T));
        return true;
    }

    // Of two neighbouring layers one is even and one odd. The last means of the odd one stand for its states, given
    // the even one's: a gradient with less noise.
    bool model_rows(const std::function<bool()>& go_on) {
        std::vector<Left> states;
        for (int64_t i = 0; i <= d.depth; ++i)
            states.push_back(i % 2 ? d.chains[size_t(i / 2)].left() : i ? evens[size_t(i)].left() : Left{});
        const auto own_rows = [&](int64_t i) { return activities[size_t(i)].template as<T>() + B * d.width(i); };
        for (int k = 1; k <= o.k; ++k) {
            const bool last = k == o.k;
            const auto draw = [&](int64_t i) {
                return Draw{d.seed, uint32_t(d.step + uint64_t(k)), kChains + uint32_t(i), 0};
            };
            for (int64_t i = 0; i <= d.depth; i += 2) {
                Outputs out = i ? evens[size_t(i)].samples() : batch.model(last);
                if (i && last) out.sample = own_rows(i);
                d.half_step(i, states, C, d.bias(i).data(), 1, -1, out, draw(i));
            }
            states[0] = batch.model_states();
            for (int64_t i = 1; i <= d.depth; i += 2) {
                Outputs out = d.chains[size_t(i / 2)].samples();
                if (last) out.mean = own_rows(i);
                d.half_step(i, states, C, d.bias(i).data(), 1, -1, out, draw(i));
            }
            if (!go_on()) return false;
        }
        return true;
    }

    void gradients() {
        run(ColumnSum{B + C, d.width(0), batch.all(), contrast.data(), 0, sums[0].data(), d.dtype});
        for (int64_t i = 1; i <= d.depth; ++i) {
            const Left x{activities[size_t(i)].data(), d.width(i), 1};
            run(ColumnSum{B + C, d.width(i), x, contrast.data(), 0, sums[size_t(i)].data(), d.dtype});
            run(ColumnSum{B, d.width(i), x, share.data(), 0, means[size_t(i)].data(), d.dtype});
        }
        for (size_t i = 0; i < d.links.size(); ++i) {
            Rbm& r = *d.links[i];
            const Part& p = parts[i];
            copy(p.dv, sums[i]);
            copy(p.dh, sums[i + 1]);
            if (i) copy(r.visible_offset, d.links[i - 1]->hidden_offset);
            ContrastGradient g{};
            g.visibles = r.visibles;
            g.hiddens = r.hiddens;
            g.dv = p.dv.data();
            g.dh = p.dh.data();
            g.precision = i == 0 && gaussian ? r.precision_.data() : nullptr;
            g.hidden_mean = means[i + 1].data();
            g.visible_offset = r.visible_offset.data();
            g.hidden_offset = r.hidden_offset.data();
            g.row_scale = p.row_scale.data();
            g.offset_shift = p.offset_shift.data();
            g.rank_right = p.rank_right.data();
            g.total = double(total);
            g.decay = d.step == 0 ? 0 : kActivityDecay;
            g.target = o.sparsity_target;
            g.cost = o.sparsity_cost;
            g.centred = o.centering;
            g.dtype = d.dtype;
            run(g);
        }
    }

    void steps() {
        for (size_t i = 0; i < d.links.size(); ++i) update_weights(i);
        if (dz) {
            const Rbm& r = *d.links[0];
            dz.zero();
            for (const Segment& s : r.visible.segments)
                if (s.unit == Unit::gaussian)
                    run(VarianceGradient{B + C, r.visibles, s.begin, s.end, batch.values(), r.visible_bias_.data(),
                                         contrast.data(), parts[0].row_scale.data(), row_dot.data(), dz.data(),
                                         d.dtype});
        }
        for (size_t i = 0; i < d.links.size(); ++i) step_biases(i);
        for (size_t i = 0; i < d.links.size() && o.centering; ++i)
            d.links[i]->follow_offsets(d.links[i]->velocity, parts[i].turned_step, d.bias(int64_t(i)),
                                       parts[i].offset_shift);
        if (dz) d.links[0]->derive_variances();
    }

    void update_weights(size_t i) {
        const Rbm& r = *d.links[i];
        const Part& p = parts[i];
        WeightUpdate u{};
        u.visibles = r.visibles;
        u.hiddens = r.hiddens;
        u.rows = B + C;
        u.visible = i ? Left{activities[i].data(), 1, r.visibles} : batch.turned();
        u.hidden = activities[i + 1].data();
        u.contrast = contrast.data();
        u.weights = r.weights_.data();
        u.velocity = o.momentum != 0 || o.centering ? r.velocity.data() : nullptr;
        u.row_scale = p.row_scale.data();
        if (rank) {
            u.left[0] = p.offset_shift.data();
            u.right[0] = p.rank_right.data();
        }
        if (o.centering) {
            u.left[1] = p.dv.data();
            u.right[1] = r.hidden_offset.data();
        }
        u.row_dot = i == 0 && dz ? row_dot.data() : nullptr;
        u.rate = o.learning_rate;
        u.momentum = o.momentum;
        u.l2 = o.l2;
        u.l1 = o.l1;
        u.dtype = d.dtype;
        u.format = r.rounds(u.visible) ? r.format : d.dtype;
        run(u);
    }

    // The biases of the upper layer of a link, and of link 0 what the visible layer has.
    void step_biases(size_t i) {
        const Rbm& r = *d.links[i];
        const Part& p = parts[i];
        MomentumStep m{};
        const auto add = [&](const Array& parameter, const Array& gradient, int64_t at, double low, double high,
                             int32_t* nonfinite) {
            m.slices[m.count++] = {
                parameter.size(), parameter.data(), r.bias_velocity.template as<T>() + at, gradient.data(), low, high,
                nonfinite};
        };
        if (i == 0) add(r.visible_bias_, p.dv, 0, -kNoBound, kNoBound, flag(1));
        add(r.hidden_bias_, p.dh, r.visibles, -kNoBound, kNoBound, flag(1));
        if (i == 0 && dz) add(r.log_variance_, dz, r.visibles + r.hiddens, kMinLogVariance, kMaxLogVariance, nullptr);
        m.rate = o.learning_rate;
        m.momentum = o.momentum;
        m.dtype = d.dtype;
        run(m);
    }

    void copy(const Array& to, const Array& from) {
        copy_memory(d.device, to.data(), d.device, from.data(), to.bytes());
    }

    Dbm& d;
    const TrainOptions& o;
    const MeanField& mean_field;
    const int64_t C;  // chains
    const bool rank, gaussian;
    Minibatch<T> batch;
    std::vector<T> weights_of_rows;
    Array contrast, share;           // weights of rows: in the gradient; of the data, adding up to 1
    std::vector<Array> activities;   // of hidden layers, in the order of the batch's rows
    std::vector<Array> sums, means;  // of layers: weighted by contrast; of the data
    std::vector<States> evens;       // of the model's even hidden layers
    std::vector<Part> parts;
    Array row_dot, dz, flags;
    int64_t B = 0;  // rows of data
    T total = 0;    // their weight
    int64_t unseen = 0;
};

std::optional<Diverged> Dbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const TrainOptions& o, const MeanField& mean_field,
                                   const std::function<bool(int64_t)>& tick) {
    return by_dtype(dtype, [&]<class T>(T) -> std::optional<Diverged> {
        DbmTraining<T> training(*this, o, mean_field, std::min(o.batch_size, std::max<int64_t>(count, 1)));
        Array uploaded;  // the order, as 64-bit numbers
        Rows data = rows;
        const int64_t* on_device = order;
        if (device.is_gpu()) {
            uploaded = Array(DType::f64, count, device);
            copy_memory(device, uploaded.data(), {}, order, uploaded.bytes());
            on_device = uploaded.as<int64_t>();
            data.zero_one = layer(0).binary() && links[0]->zero_one(rows);
        }
        for (int64_t first = 0; first < count; first += o.batch_size) {
            const int64_t B = std::min(o.batch_size, count - first);
            if (!training.update(data, order + first, on_device + first, B, static_cast<const T*>(weight),
                                 [&] { return tick(first); }))
                break;
            if (const char* tensor = training.diverged(first + B == count))
                return Diverged{first / o.batch_size, tensor};
            if (!tick(first + B)) break;
        }
        return std::nullopt;
    });
}

}  // namespace unsupfast
