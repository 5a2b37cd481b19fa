// Plain loops: the meaning of the losses.
#include "kernels/loss/op.h"

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void likelihood(const Likelihood& p) {
    for (int64_t i = 0; i < p.m; ++i) {
        const T* z = static_cast<const T*>(p.z) + i * p.n;
        const T* x = static_cast<const T*>(p.x) + i / p.repeat * p.n;
        const T scale = T(p.scale) * (p.row_scale ? static_cast<const T*>(p.row_scale)[i] : T(1));
        T top = 0, total = 0, mass = 0, value = 0;
        if (p.loss == Loss::categorical) {
            for (int64_t j = 0; j < p.n; ++j) top = j == 0 || z[j] > top ? z[j] : top;
            for (int64_t j = 0; j < p.n; ++j) total += std::exp(z[j] - top), mass += x[j];
            if (p.n > 0) value = mass * (top + std::log(total));
        }
        for (int64_t j = 0; j < p.n; ++j) {
            T mean = z[j];
            switch (p.loss) {
                case Loss::squared:
                    value += (z[j] - x[j]) * (z[j] - x[j]);
                    break;
                case Loss::bernoulli:
                    value += softplus(z[j]) - x[j] * z[j];
                    mean = sigmoid(z[j]);
                    break;
                case Loss::continuous_bernoulli:
                    value += continuous_norm(z[j]) - x[j] * z[j];
                    mean = continuous_mean(z[j]);
                    break;
                case Loss::categorical:
                    value -= x[j] * z[j];
                    mean = mass * std::exp(z[j] - top) / total;
                    break;
            }
            const T factor = p.loss == Loss::squared ? 2 * scale : scale;
            if (p.grad) static_cast<T*>(p.grad)[i * p.n + j] = factor * (mean - x[j]);
        }
        if (p.value) static_cast<T*>(p.value)[i] = value;
    }
}

}  // namespace

USF_REF_BY_DTYPE(Likelihood, likelihood)

}  // namespace unsupfast
