// Training of a deep machine, mini-batch by mini-batch: means of the data's hidden units by mean field, the model's
// states by chains that persist, and a step up the difference.
#include <algorithm>

#include "dbm/dbm.h"
#include "kernels/contrast/op.h"
#include "rbm/minibatch.h"
#include "rbm/programme.h"
#include "rbm/update.h"

namespace unsupfast {

// One call of Dbm::train: its buffers, and the parts of an update in their order.
template <class T>
class DbmTraining {
  public:
    DbmTraining(Dbm& d, const TrainOptions& o, const MeanField& mean_field, const T* weight, int64_t max_batch)
        : d(d),
          o(o),
          mean_field(mean_field),
          weight(weight),
          C(d.chains[0].count()),
          batch(d.layer(0), max_batch + C, d.dtype, d.device),
          row_weights(max_batch + C, d.dtype, d.device),
          guard({"weights", "biases"}, d.device) {
        for (int64_t i = 0; i <= d.depth; ++i) {
            activities.push_back(array(i ? (max_batch + C) * d.width(i) : 0));
            means.push_back(array(d.width(i)));
            evens.push_back(i % 2 || i == 0 ? States() : States(d.layer(i), C, d.dtype, d.device));
        }
        for (const auto& link : d.links) gradients.emplace_back(*link, o);
    }

    // The data's rows and their means: mean field asks the GPU once a sweep which rows still move.
    void prepare(const Batch& given) {
        B = given.count;
        teaches = row_weights.set(given.order, weight, B, C, o);
        if (!teaches) return;
        batch.gather(given.rows, given.at, B);
        std::vector<void*> to;
        for (const Array& a : activities) to.push_back(a.data());
        sweeps = d.mean_field(batch.data(), B, to, mean_field, nullptr);
    }

    // False: stopped, nothing learned.
    bool update(const Batch& given, const std::function<bool()>& go_on) {
        if (!teaches) return true;  // a batch of zero weight
        if (!model_rows(given.clock, go_on)) return false;
        batch.finish(C);
        sum_rows();
        steps();
        for (const auto& link : d.links) link->refresh(guard.flag(0));
        count();
        return true;
    }

    // What the CPU remembers of an update.
    void count() {
        d.sweeps += uint64_t(sweeps);
        d.rows += uint64_t(B);
        d.step += uint64_t(o.k) + 1;
    }
    const char* diverged(bool last) { return guard.found(last); }

  private:
    Array array(int64_t n) const { return Array(d.dtype, n, d.device); }
    template <class P>
    void run(const P& p) {
        unsupfast::run(p, d.device);
    }

    // Of two neighbouring layers one is even and one odd. The last means of the odd one stand for its states, given
    // the even one's: a gradient with less noise.
    bool model_rows(const Clock& clock, const std::function<bool()>& go_on) {
        std::vector<Left> states;
        for (int64_t i = 0; i <= d.depth; ++i)
            states.push_back(i % 2 ? d.chains[size_t(i / 2)].left() : i ? evens[size_t(i)].left() : Left{});
        const auto own_rows = [&](int64_t i) { return activities[size_t(i)].template as<T>() + B * d.width(i); };
        for (int k = 1; k <= o.k; ++k) {
            const bool last = k == o.k;
            const auto draw = [&](int64_t i) {
                return clock.draw(d.seed, d.step + uint64_t(k), kChains + uint32_t(i));
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

    // Sums over rows, of which the gradients are made: a layer's are of the links on both of its sides.
    void sum_rows() {
        const void* contrast = row_weights.contrast.data();
        run(ColumnSum{B + C, d.width(0), batch.all(), contrast, 0, gradients[0].dv.data(), d.dtype});
        for (int64_t i = 1; i <= d.depth; ++i) {
            const Left x{activities[size_t(i)].data(), d.width(i), 1};
            const Array& sum = gradients[size_t(i - 1)].dh;
            run(ColumnSum{B + C, d.width(i), x, contrast, 0, sum.data(), d.dtype});
            run(ColumnSum{B, d.width(i), x, row_weights.share.data(), 0, means[size_t(i)].data(), d.dtype});
            if (i < d.depth) copy(gradients[size_t(i)].dv, sum);
        }
    }

    void steps() {
        const Array& contrast = row_weights.contrast;
        for (size_t i = 0; i < d.links.size(); ++i) {
            Rbm& r = *d.links[i];
            if (i) copy(r.visible_offset, d.links[i - 1]->hidden_offset);
            gradients[i].finish(r, o, means[i + 1].data(), row_weights.total, d.step == 0);
        }
        for (size_t i = 0; i < d.links.size(); ++i) {
            const Left below = i ? Left{activities[i].data(), 1, d.width(int64_t(i))} : batch.turned();
            run(gradients[i].on_weights(*d.links[i], o, B + C, below, activities[i + 1].data(), contrast.data()));
        }
        gradients[0].add_variances(*d.links[0], B + C, batch.values(), contrast.data());
        for (size_t i = 0; i < d.links.size(); ++i) step_biases(i);
        for (size_t i = 0; i < d.links.size() && o.centering; ++i)
            d.links[i]->follow_offsets(d.links[i]->velocity, gradients[i].turned_step, d.bias(int64_t(i)),
                                       gradients[i].offset_shift);
        if (gradients[0].dz) d.links[0]->derive_variances();
    }

    // The biases of the upper layer of a link, and of link 0 what the visible layer has.
    void step_biases(size_t i) {
        const Rbm& r = *d.links[i];
        const Gradient& g = gradients[i];
        MomentumStep m{};
        const auto add = [&](const Array& parameter, const Array& by, int64_t at, double low, double high,
                             int32_t* nonfinite) {
            m.slices[m.count++] = {
                parameter.size(), parameter.data(), r.bias_velocity.template as<T>() + at, by.data(), low, high,
                nonfinite};
        };
        if (i == 0) add(r.visible_bias_, g.dv, 0, -kNoBound, kNoBound, guard.flag(1));
        add(r.hidden_bias_, g.dh, r.visibles, -kNoBound, kNoBound, guard.flag(1));
        if (g.dz) add(r.log_variance_, g.dz, r.visibles + r.hiddens, kMinLogVariance, kMaxLogVariance, nullptr);
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
    const Rows rows;
    const T* weight;  // of the rows of data; null: they weigh the same
    const int64_t C;  // chains
    Minibatch<T> batch;
    RowWeights row_weights;
    std::vector<Array> activities;    // of hidden layers, in the order of the batch's rows
    std::vector<Array> means;         // of the data's
    std::vector<States> evens;        // of the model's even hidden layers
    std::vector<Gradient> gradients;  // of links
    Guard guard;
    int64_t B = 0, sweeps = 0;  // rows of data, and mean field made on them
    bool teaches = false;       // whether they weigh anything
};

std::optional<Diverged> Dbm::train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                   const TrainOptions& o, const MeanField& mean_field,
                                   const std::function<bool(int64_t)>& tick) {
    return by_dtype(dtype, [&]<class T>(T) {
        DbmTraining<T> training(*this, o, mean_field, static_cast<const T*>(weight),
                                std::min(o.batch_size, std::max<int64_t>(count, 1)));
        return Programme(Source(rows, width(0), dtype, device, layer(0).binary()), order, count, o.batch_size,
                         weight ? 0 : o.k + 1)
            .run(training, tick);
    });
}

}  // namespace unsupfast
