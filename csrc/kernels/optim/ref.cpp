// Plain loops: the meaning of a step of the optimiser.
#include "kernels/optim/op.h"

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void optimise(const Optimise& o) {
    const T rate = T(o.live ? o.live[0] : o.rate), beta1 = T(o.beta1), beta2 = T(o.beta2), eps = T(o.eps);
    const T by_c1 = T(o.live ? o.live[1] : o.rate / o.c1), c2 = T(o.live ? 1 / o.live[2] : o.c2);
    const T scale = T(o.scale) * (o.factor ? *static_cast<const T*>(o.factor) : T(1));
    for (int64_t s = 0; s < o.count; ++s)
        for (int64_t i = 0; i < o.slices[s].n; ++i) {
            const Slice& slice = o.slices[s];
            T& p = static_cast<T*>(slice.p)[i];
            T g = static_cast<const T*>(slice.g)[i] * scale;
            if (o.limit > 0) g = std::fmin(std::fmax(g, T(-o.limit)), T(o.limit));
            if (o.rule == Rule::adamw)
                p -= rate * T(slice.decay) * p;
            else
                g += T(slice.decay) * p;
            if (o.rule == Rule::sgd) p -= rate * g;
            if (o.rule == Rule::momentum) {
                T& m = static_cast<T*>(slice.m)[i];
                m = beta1 * m + g;
                p -= rate * (o.nesterov ? g + beta1 * m : m);
            }
            if (o.rule == Rule::rmsprop) {
                T& v = static_cast<T*>(slice.v)[i];
                v = beta2 * v + (1 - beta2) * g * g;
                p -= rate * g / (std::sqrt(v) + eps);
            }
            if (o.rule == Rule::adam || o.rule == Rule::adamw) {
                T &m = static_cast<T*>(slice.m)[i], &v = static_cast<T*>(slice.v)[i];
                m = beta1 * m + (1 - beta1) * g;
                v = beta2 * v + (1 - beta2) * g * g;
                p -= m * by_c1 / (std::sqrt(v / c2) + eps);
            }
            if (!std::isfinite(p)) *o.nonfinite = 1;
        }
}

}  // namespace

USF_REF_BY_DTYPE(Optimise, optimise)

}  // namespace unsupfast
