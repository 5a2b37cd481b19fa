// A deep Boltzmann machine: layers of units, each joined to the next.
//
//   E(x_0 .. x_L) = sum_i E_i(x_i) - sum_i x_i' W_i x_{i+1}
// Link i is a machine of the layers i and i + 1. It holds W_i and the bias of layer i + 1; link 0 also all that the
// visible layer has. Given the even layers the odd ones are independent, and the other way round: together they are
// one restricted machine whose weights have blocks of zeros, which nothing here multiplies. States of all even layers,
// or of all odd ones, go in and out side by side, as those of its two layers.
#pragma once
#include <memory>
#include <vector>

#include "rbm/rbm.h"

namespace unsupfast {

// When to stop looking for a row's fixed point: after a sweep that changes no mean by more than `tolerance`, or `most`.
struct MeanField {
    double tolerance = 1e-3;
    int64_t most = 10;
};

class Dbm {
  public:
    // Hidden layers are binary.
    Dbm(const std::vector<Layer>& layers, DType dtype, DType format, Device device = {});

    std::vector<std::unique_ptr<Rbm>> links;
    const int64_t depth;  // hidden layers
    const DType dtype;
    const Device device;  // as of Rbm

    const Layer& layer(int64_t i) const { return i ? links[size_t(i - 1)]->hidden : links[0]->visible; }
    int64_t width(int64_t i) const { return layer(i).size(); }
    int64_t units(int64_t parity) const;  // of all layers whose numbers are even (0) or odd (1)

    // What training carries from step to step, besides what links hold.
    std::vector<States> chains;  // of the odd layers
    uint64_t step = 0, seed = 0;
    uint64_t rows = 0, sweeps = 0;  // of data that training saw, and of mean field it made on each of them
    // count x units(1) values; false if one is neither 0 nor 1, and then nothing changes
    bool set_chains(const void* joined, int64_t count);
    void get_chains(void* joined) const;

    // Means of the hidden layers given `count` visible rows, by coordinate ascent of the variational bound: all odd
    // layers given the even ones, then those given the odd ones. means[i] (i > 0) are count x width(i) values. It
    // starts bottom-up, with what comes in from below doubled where a layer above is missing. A row that has come to
    // rest is left as it is, so that it does not depend on the others. log_partition, where not null, receives what the
    // odd layers, then once more made the best given the even ones, add to the bound (count values). Returns the sweeps
    // made, of all rows together. All on the machine's device, which is asked once a sweep which rows still move.
    int64_t mean_field(const Left& v, int64_t count, const std::vector<void*>& means, const MeanField& options,
                       void* log_partition);

    // As of Rbm; every update makes one step of mean field on the rows and o.k sweeps of chains that persist.
    std::optional<Diverged> train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                  const TrainOptions& o, const MeanField& mean_field,
                                  const std::function<bool(int64_t)>& tick);

    // As of Rbm, with the even layers side by side in place of v; clamp and mean are of the visible layer alone.
    void gibbs(void* even, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
               const std::function<bool(int64_t)>& tick);
    void anneal(void* even, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                uint64_t draw_seed, const std::function<bool(int64_t)>& tick);

  private:
    template <class T>
    friend class DbmTraining;
    const Array& bias(int64_t i) const { return i ? links[size_t(i - 1)]->hidden_bias_ : links[0]->visible_bias_; }
    // Layer i given the states of its neighbours, at inverse temperature `scale`; ratio as in HalfStep. below, where
    // not null, is what comes in from there.
    void half_step(int64_t i, const std::vector<Left>& states, int64_t count, const void* bias, double scale,
                   double ratio, const Outputs& out, const Draw& draw, const void* below = nullptr);
    // change = the largest of each row's n values from `before`, which then has `now` (and now is scratch).
    void follow(Array& now, Array& before, int64_t rows, int64_t n, void* change);
    // The largest of each row's changes in the layers that change_ has.
    std::vector<double> changes(int64_t layers, int64_t rows) const;
    // to = rows `index` (on the device) of values, n each.
    void take(const void* values, int64_t n, const int64_t* index, int64_t count, void* to) const;
    // States of layers of one parity, from and to values side by side.
    std::vector<States> split(const void* joined, int64_t count, int64_t parity) const;
    void join(const std::vector<States>& states, int64_t parity, void* joined) const;

    Array field_, below_, fresh_, change_, index_;
    std::vector<Array> at_work_, at_rest_;
};

// Draws of a layer's purpose: these numbers, and the layer's.
enum LayerStream : uint32_t { kChains = 64, kDeepSampling = 128, kDeepAnnealing = 192 };
constexpr int64_t kMaxDepth = 63;

}  // namespace unsupfast
