// One pass over parameters, gradients and moments of many tensors.
#include "kernels/optim/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

constexpr int64_t kChunk = 4096;  // elements

template <class T>
struct RuleNumbers {
    T rate, beta1, beta2, eps, c1, c2, scale;  // c1 = rate / c1, c2 = 1 / c2 of the op
    explicit RuleNumbers(const Optimise& p)
        : rate(T(p.rate)), beta1(T(p.beta1)), beta2(T(p.beta2)), eps(T(p.eps)), c1(T(p.rate / p.c1)),
          c2(T(1 / p.c2)), scale(T(p.scale)) {}
};

template <Rule kRule, class T>
inline Vec<T> rule_step(const RuleNumbers<T>& a, bool nesterov, Vec<T> p, Vec<T> g, Vec<T>& m, Vec<T>& v, T decay) {
    if constexpr (kRule == Rule::adamw)
        p -= p * (a.rate * decay);
    else
        g += p * decay;
    if constexpr (kRule == Rule::sgd) return p - g * a.rate;
    if constexpr (kRule == Rule::momentum) {
        m = m * a.beta1 + g;
        return p - (nesterov ? g + m * a.beta1 : m) * a.rate;
    }
    v = v * a.beta2 + g * g * (T(1) - a.beta2);
    if constexpr (kRule == Rule::rmsprop) return p - g * a.rate / (sqrt<T>(v) + a.eps);
    m = m * a.beta1 + g * (T(1) - a.beta1);
    return p - m * a.c1 / (sqrt<T>(v * a.c2) + a.eps);
}

template <class T, Rule kRule>
void run_rule(const Optimise& o, const Launch& launch) {
    constexpr int L = kLanes<T>;
    constexpr bool kHasM = kRule == Rule::momentum || kRule == Rule::adam || kRule == Rule::adamw;
    constexpr bool kHasV = kRule == Rule::rmsprop || kRule == Rule::adam || kRule == Rule::adamw;
    const RuleNumbers<T> numbers(o);
    const Vec<T> limit = splat(T(o.limit));
    int64_t chunks = 0;
    for (int64_t s = 0; s < o.count; ++s) chunks += (o.slices[s].n + kChunk - 1) / kChunk;
    parallel_for(launch, chunks, [&](int64_t begin, int64_t end) {
        Vec<T> bad{};
        int64_t s = 0, first = 0;
        for (int64_t chunk = begin; chunk < end; ++chunk) {
            for (int64_t own; chunk - first >= (own = (o.slices[s].n + kChunk - 1) / kChunk); ++s) first += own;
            const Slice& slice = o.slices[s];
            T *p = static_cast<T*>(slice.p), *m = static_cast<T*>(slice.m), *v = static_cast<T*>(slice.v);
            const T* g = static_cast<const T*>(slice.g);
            const T decay = T(slice.decay);
            const int64_t stop = least(slice.n, (chunk - first + 1) * kChunk);
            for (int64_t i = (chunk - first) * kChunk; i < stop; i += L) {
                const int64_t n = least(stop - i, L);
                Vec<T> gradient = load_n(g + i, n) * numbers.scale;
                if (o.limit > 0)  // written so that NaN stays NaN
                    gradient = gradient > limit ? limit : gradient < -limit ? -limit : gradient;
                Vec<T> first_moment = kHasM ? load_n(m + i, n) : Vec<T>{};
                Vec<T> second_moment = kHasV ? load_n(v + i, n) : Vec<T>{};
                const Vec<T> value = rule_step<kRule, T>(numbers, o.nesterov, load_n(p + i, n), gradient, first_moment,
                                                         second_moment, decay);
                if (kHasM) store_n(m + i, first_moment, n);
                if (kHasV) store_n(v + i, second_moment, n);
                store_n(p + i, value, n);
                bad += first_n<T>(value, n) * T(0);
            }
        }
        if (nonzero_bits<T>(bad)) __atomic_store_n(o.nonfinite, 1, __ATOMIC_RELAXED);
    });
}

template <class T>
void optimise(const Optimise& o, const Launch& launch) {
    switch (o.rule) {
        case Rule::sgd:
            return run_rule<T, Rule::sgd>(o, launch);
        case Rule::momentum:
            return run_rule<T, Rule::momentum>(o, launch);
        case Rule::rmsprop:
            return run_rule<T, Rule::rmsprop>(o, launch);
        case Rule::adam:
            return run_rule<T, Rule::adam>(o, launch);
        case Rule::adamw:
            return run_rule<T, Rule::adamw>(o, launch);
    }
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Optimise, optimise)

}  // namespace unsupfast
