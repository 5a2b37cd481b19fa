// Plain loops: the meaning of the mini-batches.
#include "kernels/batch/op.h"

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void take_rows(const TakeRows& p) {
    T *clean = static_cast<T*>(p.clean), *corrupted = static_cast<T*>(p.corrupted);
    const T amount = T(p.amount);
    for (int64_t i = 0; i < p.m; ++i) {
        const int64_t row = p.index ? p.index[i] : i;
        for (int64_t j = 0; j < p.n; ++j) {
            T x = ref::left_at<T>(p.x, row, j);
            if (clean) clean[i * p.n + j] = x;
            if (!corrupted) continue;
            const T u = philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(row), step_of(p.draw),
                                       p.draw.stream);
            switch (p.corruption) {
                case Corruption::none:
                    break;
                case Corruption::masking:
                    if (u < amount) x = 0;
                    break;
                case Corruption::salt_pepper:
                    if (u < amount) x = u < amount / 2 ? T(0) : T(1);
                    break;
                case Corruption::gaussian:
                    x += amount * probit(u);
                    break;
                case Corruption::bernoulli:
                    x = u < x ? T(1) : T(0);
                    break;
            }
            corrupted[i * p.n + j] = x;
        }
    }
}

}  // namespace

USF_REF_BY_DTYPE(TakeRows, take_rows)

}  // namespace unsupfast
