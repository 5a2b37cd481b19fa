// One pass over parameters, gradients and moments of many tensors.
#include "kernels/optim/step.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

constexpr int64_t kChunk = 4096;  // elements

template <class T, Rule kRule>
void run_rule(const Optimise& o, const Launch& launch) {
    constexpr int L = kLanes<T>;
    int64_t chunks = 0;
    for (int64_t s = 0; s < o.count; ++s) chunks += (o.slices[s].n + kChunk - 1) / kChunk;
    parallel_for(launch, chunks, [&](int64_t begin, int64_t end) {
        Vec<T> bad{};
        int64_t s = 0, first = 0;
        for (int64_t chunk = begin; chunk < end; ++chunk) {
            for (int64_t own; chunk - first >= (own = (o.slices[s].n + kChunk - 1) / kChunk); ++s) first += own;
            const Slice& slice = o.slices[s];
            const RuleNumbers<T> numbers(o, slice.decay);
            const T* g = static_cast<const T*>(slice.g);
            const int64_t stop = least(slice.n, (chunk - first + 1) * kChunk);
            for (int64_t i = (chunk - first) * kChunk; i < stop; i += L) {
                const int64_t n = least(stop - i, L);
                bad += step_at<T, kRule>(numbers, slice, i, n, load_n(g + i, n)) * T(0);
            }
        }
        if (nonzero_bits<T>(bad)) __atomic_store_n(o.nonfinite, 1, __ATOMIC_RELAXED);
    });
}

template <class T>
void optimise(const Optimise& o, const Launch& launch) {
    with_rule(o.rule, [&]<Rule kRule>() { run_rule<T, kRule>(o, launch); });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Optimise, optimise)

}  // namespace unsupfast
