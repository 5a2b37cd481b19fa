// A restricted Boltzmann machine as the kernels want it: packed weights, biases, and the loops over
// mini-batches, Gibbs steps and temperatures that are too short to be driven from Python.
//
//   E(v, h) = -a'v - b'h - v'W h - sum_i log w(v_i) - sum_j log w(h_j)
// with the weights w of the kinds of unit (kernels/units/op.h). Gaussian visibles have a mean and a variance,
//   sum (v - a)^2 / (2 sigma^2) - b'h - (v / sigma^2)'W h
// and counts (multinomial) meet hidden biases as often as they count: b'h times their sum.
#pragma once
#include <functional>
#include <optional>

#include "kernels/chain/op.h"
#include "rbm/layer.h"

namespace unsupfast {

// Rows of data: dense, one after the other, or CSR; in the machine's dtype.
struct Rows {
    int64_t count = 0;
    const void* data = nullptr;
    int64_t row_stride = 0;  // dense
    const int64_t* indptr = nullptr;
    const int32_t* indices = nullptr;
    Device device = {};
    bool zero_one = false;  // known to hold nothing else; asked for on a GPU alone

    Left left() const { return {data, row_stride, 1, indptr, indices}; }
};

// Which draws belong to which purpose; see philox.h.
enum Stream : uint32_t {
    kPositive = 0,
    kVisible = 1,
    kHidden = 2,
    kSwap = 3,
    kLabel = 4,
    kSampling = 16,
    kAnnealing = 32
};

template <class F>
decltype(auto) by_dtype(DType dtype, F&& f) {
    return dtype == DType::f64 ? f(double{}) : f(float{});
}

inline Array in_dtype(const std::vector<double>& values, DType dtype, Device device) {
    return by_dtype(dtype, [&]<class T>(T) {
        const std::vector<T> rounded(values.begin(), values.end());
        Array made(dtype, int64_t(values.size()), device);
        copy_memory(device, made.data(), {}, rounded.data(), made.bytes());
        return made;
    });
}

struct TrainOptions {
    int64_t batch_size = 10;
    int k = 1;
    bool persistent = true;
    double learning_rate = 0.1, momentum = 0, l2 = 0, l1 = 0;
    bool centering = false;
    double sparsity_target = -1, sparsity_cost = 0;        // target < 0: off
    double selectivity_target = -1, selectivity_cost = 0;  // likewise
    bool learn_sigma = true, learn_shape = true;
    bool adam = false;  // momentum is then the decay of the first moment
    double second_decay = 0.999, eps = 1e-8;
    double clip_norm = 0, max_norm = 0;       // of the whole gradient, of a hidden unit's weights; 0: off
    double fast_rate = 0, fast_decay = 0.95;  // fast weights of the model's chains; rate 0: off
    // Inverse temperatures of tempered chains, rising to 1: chains come in as many blocks. Empty: plain chains.
    std::vector<double> temperatures;
    std::vector<double> base_bias;  // visible bias at inverse temperature 0
    // Rows of data x are taken as (x - offset) / scale, a number a visible unit each; empty: as they are.
    std::vector<double> offset, scale;
    // Whether the chains of a mini-batch weigh together what its rows do; otherwise a chain weighs what a row does.
    bool balanced = true;
    // Of a classification RBM: weights of log p(label | rest) and of log p(rest, label) where a label is known, and of
    // log p(rest) where it isn't; and what is taken from the gradients by hidden biases.
    double discriminative = 0, generative = 1, unlabelled = 1, hidden_pull = 0;
    // Where uniforms come from, if not from Philox: a pointer to the next n, good until the next call, or null to
    // stop. Each update asks for those of its half-steps in turn, row-major (Bernoulli units only).
    std::function<const double*(int64_t n)> uniforms;

    // Whether an update needs the mean activities over the data.
    bool needs_means() const { return centering || sparsity_target >= 0; }
};

struct Diverged {
    int64_t batch;       // mini-batch of this call, from 0
    const char* tensor;  // what stopped being finite
};

class Rbm {
  public:
    Rbm(Layer visible, Layer hidden, DType dtype, DType format, Device device = {});

    const Layer visible, hidden;
    const int64_t visibles, hiddens;
    const DType dtype, format;
    const Device device;  // of everything it holds; what comes in and goes out as values is on the CPU

    // weights: visibles x hiddens with any strides (in elements); log_variance may be null without Gaussian visibles.
    void set_parameters(const void* weights, int64_t row_stride, int64_t col_stride, const void* visible_bias,
                        const void* hidden_bias, const void* log_variance);
    // Each output may be null; weights come row-major, visibles x hiddens.
    void get_parameters(void* weights, void* visible_bias, void* hidden_bias, void* log_variance) const;

    Array visible_shape, hidden_shape;  // gaps, then asymmetries, of double rectified units

    // What training carries from step to step, besides the parameters. Arrays are in dtype.
    Array velocity;             // weight panels
    Array second, bias_second;  // Adam's second moments, laid out as velocity and bias_velocity; made when needed
    Array fast, fast_bias;      // fast weights (panels), and of visible and hidden biases; made when needed
    std::vector<double> swaps;  // of each pair of neighbouring temperatures: made, then tried
    Array bias_velocity;        // visibles + hiddens + visibles (log variance), and the shapes where there are any
    Array visible_offset;       // centring offsets and sparsity statistics: means over the data ...
    Array hidden_offset;        // ... and a sliding mean of hidden activities
    States chains;              // hidden states of persistent chains
    Array chain_totals;         // what the counts of each add up to; empty: 1
    uint64_t updates = 0;       // steps of the optimiser made
    uint64_t step = 0;          // Gibbs steps made: names the random numbers
    uint64_t seed = 0;
    // Factors of what comes in from the other layer: 2 where a second copy of it stands for a layer that is not there
    // yet (pre-training of a deep Boltzmann machine).
    double up = 1, down = 1;
    // count x hiddens values; false if one is neither 0 nor 1 where it must be, and then nothing changes
    bool set_chains(const void* states, int64_t count);

    // order[0, count) are the rows to visit, in mini-batches of batch_size; weight (per row of `rows`) may
    // be null; both on the CPU. With `label` (a class for each of `rows`, on the CPU, -1: unknown) the visible layer
    // ends in a softmax group of labels, which the rows leave at 0, and hidden units are binary: the gradient is that
    // of a classification RBM. `tick` is called after every mini-batch with the rows done; returning false stops there.
    // Returns what diverged, if anything did.
    std::optional<Diverged> train(const Rows& rows, const int64_t* order, int64_t count, const void* weight,
                                  const int64_t* label, const TrainOptions& options,
                                  const std::function<bool(int64_t)>& tick);

    // One layer given `count` states of the other, all on the machine's device. log_partition receives sum_j A(x_j)
    // (the hidden part of the free energy). In format i16 bits meet the rounded weights; values meet the weights
    // themselves. totals: what a row's counts add up to; null: 1, and without counts.
    void hidden_given_visible(const Left& v, int64_t count, const Outputs& out, const Draw& draw,
                              const void* totals = nullptr);
    void visible_given_hidden(const Left& h, int64_t count, const Outputs& out, const Draw& draw,
                              const void* totals = nullptr);
    // The total inputs of hidden units.
    void hidden_fields(const Left& v, int64_t count, void* fields, const void* totals = nullptr);
    // The sums of the counts of rows of visible states, into totals (count values); nothing without counts.
    void sum_counts(const Left& v, int64_t count, Array& totals) const;

    // `steps` alternations from v (count x visibles on the CPU, updated in place); clamp (bytes, same shape or null)
    // marks entries that keep their value. mean receives the last conditional means. `tick` as in train.
    void gibbs(void* v, int64_t count, int64_t steps, const uint8_t* clamp, void* mean, uint64_t draw_seed,
               const std::function<bool(int64_t)>& tick);

    // Annealing of `count` visible states through betas[0 .. n) of the path from the base-rate machine
    // (visible bias base_bias, no weights) at 0 to this one at 1, in either direction. Adds to log_weight
    // the log ratio of unnormalised probabilities at each change of temperature.
    void anneal(void* v, int64_t count, const double* betas, int64_t n, const void* base_bias, double* log_weight,
                uint64_t draw_seed, const std::function<bool(int64_t)>& tick);

  private:
    void prepare_fast();
    void exchange();  // the parameters with those that the model's chains are sampled with
    void add_fast();
    void step_fast(const TrainOptions&, WeightUpdate, const Array& dv, const Array& dh);
    void* fast_hidden_bias() const;
    template <class T>
    friend class Training;
    template <class T>
    friend class ClassRows;
    friend struct Gradient;
    friend class Path;
    friend class Tempering;
    friend class Dbm;
    template <class T>
    friend class DbmTraining;
    // Derived weight layouts; *nonfinite (on the device) is set to 1 if a weight is not finite.
    void refresh(int32_t* nonfinite);
    // The half-steps at inverse temperature `scale`; ratio as in HalfStep.
    void hidden_step(const Left& v, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                     const Draw& draw, const void* totals);
    // What a half-step multiplies; plain: holds the weights where there is no other copy of them.
    HalfStep hidden_product(const Left& v, int64_t count) const;
    HalfStep visible_product(const Left& h, int64_t count, Array& plain) const;
    // field: what comes in from elsewhere, as in HalfStep
    void visible_step(const Left& h, int64_t count, const void* bias, double scale, double ratio, const Outputs& out,
                      const Draw& draw, const void* totals, const void* field = nullptr);
    // out (count x hiddens) = what comes in from visible states
    void field_of_visibles(const Left& v, int64_t count, void* out) const;
    // Whether the product that goes up from such states is with rounded weights.
    bool rounds(const Left& states) const { return format != dtype && (format != DType::i16 || states.bits); }
    // In centred form the biases follow the weights, a_centred = a + W lambda, by the step made on these. turned is
    // scratch: panels, hiddens x visibles.
    void follow_offsets(const Array& made, const Array& turned, const Array& visible_bias, const Array& offset_shift);
    void run_step(const Layer& layer, HalfStep p, const Outputs& out, const void* bias_weight, const void* totals,
                  const Array& shape);
    // Its two parts, for units that the fused kernel does not know: fields (p.m x p.n), which p's bias and scale are no
    // part of, and the layer given those.
    void product(HalfStep p, void* fields);
    void by_segments(const Layer& layer, const HalfStep& p, const void* fields, const Outputs& out,
                     const void* bias_weight, const void* totals, const Array& shape);
    // Alternations of binary layers in one kernel, near states in place: see GibbsChain.
    bool chain_pays(int64_t count, int64_t steps) const;
    GibbsChain visible_chain(const Array& bits, int64_t count) const;
    void derive_variances();
    Array panel_of_counts() const;
    // A copy of values on the CPU, or of `from` on the device, in `to`.
    void upload(const Array& to, const void* from) const { copy_memory(device, to.data(), {}, from, to.bytes()); }

    Array weights_;                 // panels, visibles x hiddens, dtype: the master copy
    Array to_hidden_, to_visible_;  // panels of `format`; to_hidden_ only if format differs from dtype
    Array visible_bias_, hidden_bias_, no_bias_, log_variance_, precision_, sigma_;
    Array counted_;  // a panel with ones where visible units count; empty where none do
    // What the model's chains are sampled with, where that is something else: weights with fast weights added.
    Array sampling_weights_, sampling_to_hidden_, sampling_to_visible_, sampling_visible_bias_, sampling_hidden_bias_;
    Array fields_, drawn_;  // of layers that the fused kernel does not know
};

}  // namespace unsupfast
