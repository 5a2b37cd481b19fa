// Plain loops: the meaning of dropout.
#include "kernels/dropout/op.h"

#include "kernels/gemm/ref.h"
#include "philox.h"

namespace unsupfast {
namespace {

template <class T>
void dropout(const Dropout& p) {
    const float rate = float(p.rate);
    const T scale = T(1 / (1 - p.rate));
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
            const float u = philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(i), step_of(p.draw),
                                           p.draw.stream);
            static_cast<T*>(p.y)[i * p.n + j] = u < rate ? T(0) : static_cast<const T*>(p.x)[i * p.n + j] * scale;
        }
}

}  // namespace

USF_REF_BY_DTYPE(Dropout, dropout)

}  // namespace unsupfast
