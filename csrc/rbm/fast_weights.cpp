// Fast weights (Tieleman and Hinton, ICML 2009): the model's chains are sampled with weights to which the last
// gradients, fading, are added, so that they leave the states they are in.
#include "kernels/contrast/op.h"
#include "rbm/rbm.h"
#include "rbm/step.h"

namespace unsupfast {

void Rbm::exchange() {
    std::swap(weights_, sampling_weights_);
    std::swap(to_hidden_, sampling_to_hidden_);
    std::swap(to_visible_, sampling_to_visible_);
    std::swap(visible_bias_, sampling_visible_bias_);
    std::swap(hidden_bias_, sampling_hidden_bias_);
}

void Rbm::prepare_fast() {
    const auto reserve = [&](Array& a, DType t, int64_t n) { a.reserve(t, n, device); };
    reserve(fast, dtype, weights_.size());
    reserve(fast_bias, dtype, visibles + hiddens);
    reserve(sampling_weights_, dtype, weights_.size());
    if (format != dtype) reserve(sampling_to_hidden_, format, to_hidden_.size());
    reserve(sampling_to_visible_, format, to_visible_.size());
    reserve(sampling_visible_bias_, dtype, visibles);
    reserve(sampling_hidden_bias_, dtype, hiddens);
    add_fast();
}

void* Rbm::fast_hidden_bias() const { return fast_bias.as<char>() + visibles * element_size(dtype); }

// What the chains are sampled with: the slow parameters and the fast ones.
void Rbm::add_fast() {
    const auto sum = [](const Array& to, const Array& slow, const void* quick) {
        each(Elementary::add, slow.size(), slow, quick, 0, to.data());
    };
    sum(sampling_weights_, weights_, fast.data());
    sum(sampling_visible_bias_, visible_bias_, fast_bias.data());
    sum(sampling_hidden_bias_, hidden_bias_, fast_hidden_bias());
    exchange();
    refresh(nullptr);
    exchange();
}

void Rbm::step_fast(const TrainOptions& o, WeightUpdate u, const Array& dv, const Array& dh) {
    u.weights = sampling_weights_.data();  // what becomes of it is not needed: add_fast makes it anew
    u.velocity = fast.data();
    u.row_dot = nullptr;
    u.rate = o.fast_rate;
    u.momentum = o.fast_decay;
    u.l2 = u.l1 = 0;
    run(u, device);
    MomentumStep m{};
    m.slices[0] = {visibles, nullptr, fast_bias.data(), dv.data(), 0, 0, nullptr};
    m.slices[1] = {hiddens, nullptr, fast_hidden_bias(), dh.data(), 0, 0, nullptr};
    m.count = 2;
    m.rate = o.fast_rate;
    m.momentum = o.fast_decay;
    m.dtype = dtype;
    run(m, device);
    add_fast();
}

}  // namespace unsupfast
