// A convolutional restricted Boltzmann machine with probabilistic max-pooling: H. Lee, R. Grosse, R. Ranganath, A. Ng,
// "Convolutional deep belief networks for scalable unsupervised learning of hierarchical representations", ICML 2009.
//
//   E(v, h) = -sum_k h_k . (w_k * v) - sum_k b_k sum h_k - sum_c a_c sum v_c
// where w_k * v is the correlation of the map v with filter k at every position where the filter fits, and of the
// detection units h_k one at most is on in each block of pool x pool. Gaussian visibles have (v - a)^2 / 2 for -a v.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "kernels/conv/shape.h"
#include "rbm/rbm.h"

namespace unsupfast {

struct ConvOptions {
    int64_t batch_size = 10;
    int k = 1;
    bool persistent = false;
    double learning_rate = 0.1, momentum = 0, l2 = 0;
    double sparsity_target = -1, sparsity_cost = 0;  // target < 0: off
};

// States are maps of values in dtype, a map a row.
class ConvRbm {
  public:
    ConvRbm(const ConvShape& shape, int64_t pool, Unit visible, DType dtype, DType format, Device device = {});
    ~ConvRbm();

    const ConvShape shape;
    const int64_t pool;
    const Unit visible;  // Bernoulli or Gaussian of unit variance
    const DType dtype, format;
    const Device device;  // of everything it holds

    // Filters (filters x taps), visible biases (channels) and hidden biases (filters); what changes them calls refresh.
    Array filters, visible_bias, hidden_bias;
    // What training carries along: velocities of those three, a sliding mean of the filters' activities, and chains.
    Array velocity, visible_velocity, hidden_velocity, activity;
    uint64_t step = 0;  // Gibbs steps made: names the random numbers
    uint64_t seed = 0;

    int64_t units() const { return shape.positions() * shape.filters; }
    int64_t pools() const { return units() / (pool * pool); }
    void refresh();

    // Visible states of persistent chains, on the CPU.
    void set_chains(const void* values, int64_t count);
    void get_chains(void* values) const;
    int64_t chain_count() const;

    // As Rbm::train; rows are count x pixels.
    std::optional<Diverged> train(const Rows& rows, const int64_t* order, int64_t count, const ConvOptions& options,
                                  const std::function<bool(int64_t)>& tick);

    // v is on the machine's device, outputs are on the CPU. Any of these may be null: means of detection units and of
    // pooling units, samples of detection units, and log partitions.
    void hidden_given_visible(const void* v, int64_t count, void* mean, void* pooled, void* sample, void* log_partition,
                              uint64_t draw_seed) const;
    // The same, given detection units. mean or sample may be null.
    void visible_given_hidden(const void* h, int64_t count, void* mean, void* sample, uint64_t draw_seed) const;
    // `steps` alternations from v, in place; `mean` receives the last conditional means. Both are on the CPU.
    void gibbs(void* v, int64_t count, int64_t steps, void* mean, uint64_t draw_seed,
               const std::function<bool(int64_t)>& tick) const;
    // As Rbm::anneal; base_bias has a value a channel.
    void anneal(void* v, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                uint64_t draw_seed, const std::function<bool(int64_t)>& tick) const;

  private:
    struct Visibles;
    struct Step;  // what a half-step of hidden units leaves behind
    class Training;
    void hidden_step(const Visibles& v, const void* bias, double scale, double ratio, const Step& out,
                     const Draw& draw) const;
    void visible_step(const Left& h, int64_t count, const void* bias, double scale, void* mean, void* sample,
                      uint32_t* bits, const Draw& draw) const;
    // Makes bits of `count` maps of visible values. Whether all are 0 or 1, if that is not known.
    bool pack(const void* values, int64_t count, const Array& bits, bool known) const;
    // A value a channel, for each of `pixels` pixels.
    void tile(const void* per_channel, int64_t pixels, const Array& to) const;
    Array array(int64_t n) const { return Array(dtype, n, device); }
    int64_t hidden_words() const { return shape.out_height() * bit_words(shape.out_width() * shape.filters); }
    int64_t visible_words() const { return shape.height * bit_words(shape.width * shape.channels); }

    const int64_t block_;
    Array to_hidden_, to_visible_;  // right operands, in `format`
    Array pixel_bias_, sigma_;      // of a block of pixels
    std::unique_ptr<Visibles> chains_;
};

}  // namespace unsupfast
