// The meaning of a chain: one half-step after the other.
#include "kernels/chain/op.h"

#include <vector>

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

// near . (near_bias - base_bias) of every chain
template <class T>
void add_linear(const GibbsChain& p, double factor) {
    const T *a = static_cast<const T*>(p.near_bias), *base = static_cast<const T*>(p.base_bias);
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.near; ++j)
            if (p.near_bits[i * bit_words(p.near) + j / 32] >> j % 32 & 1u)
                p.log_weight[i] += factor * (double(a[j]) - double(base[j]));
}

template <class T>
void chain(const GibbsChain& p, const Launch& launch) {
    std::vector<uint32_t> own(p.far_bits ? 0 : size_t(p.m * bit_words(p.far)) + 1);
    std::vector<T> far_bias(static_cast<size_t>(p.far)), near_bias(static_cast<size_t>(p.near)), log_z;
    uint32_t* far_bits = p.far_bits ? p.far_bits : own.data();
    HalfStep far{}, near{};
    far.m = near.m = p.m;
    far.n = near.k = p.far;
    far.k = near.n = p.near;
    far.states = bit_rows(p.near_bits, p.near);
    near.states = bit_rows(far_bits, p.far);
    far.weights = p.to_far;
    near.weights = p.to_near;
    far.bias = p.far_bias;
    near.bias = p.near_bias;
    far.scale = near.scale = 1;
    far.ratio = near.ratio = -1;
    far.unit = near.unit = Unit::bernoulli;
    near.bits = p.near_bits;
    far.dtype = near.dtype = p.dtype;
    far.format = near.format = p.format;
    for (int64_t s = 0; s < p.steps; ++s) {
        far.bits = far_bits;
        far.draw = {p.seed, p.first_step + uint32_t(s), p.far_stream, p.first_row, nullptr, p.clock};
        near.draw = {p.seed, p.first_step + uint32_t(s), p.near_stream, p.first_row, nullptr, p.clock};
        near.mean = s + 1 == p.steps ? p.near_mean : nullptr;
        if (p.betas) {
            const double from = p.betas[s], to = p.betas[s + 1];
            const T *a = static_cast<const T*>(p.near_bias), *b = static_cast<const T*>(p.far_bias),
                    *base = static_cast<const T*>(p.base_bias);
            far.scale = to > 0 ? to : from;
            far.ratio = to > 0 ? from / to : 0;
            near.scale = to;
            for (int64_t j = 0; j < p.far; ++j) far_bias[size_t(j)] = T(far.scale) * b[j];
            for (int64_t j = 0; j < p.near; ++j)
                near_bias[size_t(j)] = T((1 - to) * double(base[j]) + to * double(a[j]));
            far.bias = far_bias.data();
            near.bias = near_bias.data();
            log_z.assign(size_t(p.m), T(0));
            far.log_partition = log_z.data();
            if (!(to > 0)) far.bits = nullptr;
            HalfStep_ref(far, launch);
            for (int64_t i = 0; i < p.m; ++i) p.log_weight[i] += (to > 0 ? 1 : -1) * double(log_z[size_t(i)]);
            add_linear<T>(p, to - from);
            if (!(to > 0)) continue;
        } else {
            HalfStep_ref(far, launch);
        }
        HalfStep_ref(near, launch);
    }
}

}  // namespace

USF_KERNEL(ref, GibbsChain) { p.dtype == DType::f64 ? chain<double>(p, launch) : chain<float>(p, launch); }

}  // namespace unsupfast
