// Plain loops: the meaning of reductions.
#include "kernels/reduce/op.h"

#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void reduce(const Reduce& p) {
    const T* x = static_cast<const T*>(p.x);
    for (int64_t o = 0; o < p.outer; ++o)
        for (int64_t i = 0; i < p.inner; ++i) {
            double total = p.f == Reduction::max ? -INFINITY : 0;
            for (int64_t r = 0; r < p.reduced; ++r) {
                const double v = x[(o * p.reduced + r) * p.inner + i];
                if (p.f == Reduction::sum)
                    total += v;
                else if (v > total || v != v)
                    total = v;
            }
            static_cast<T*>(p.y)[o * p.inner + i] = T(p.scale * total);
        }
}

template <class T>
void tally(const Tally& p) {
    for (int64_t i = 0; i < p.count; ++i) p.totals[i] += p.weight * double(*static_cast<const T*>(p.x[i]));
}

}  // namespace

USF_REF_BY_DTYPE(Reduce, reduce)
USF_REF_BY_DTYPE(Tally, tally)

}  // namespace unsupfast
