// One vector's step: shared by the pass over many tensors and by the products that end in a step.
#pragma once
#include "kernels/optim/op.h"
#include "simd/vec.h"

namespace unsupfast::USF_ISA {

template <class T>
struct RuleNumbers {
    T rate, beta1, beta2, eps, c1, c2, scale, limit;  // c1 = rate / c1, c2 = 1 / c2 of the op
    bool nesterov;
    explicit RuleNumbers(const Optimise& o)
        : rate(T(o.rate)),
          beta1(T(o.beta1)),
          beta2(T(o.beta2)),
          eps(T(o.eps)),
          c1(T(o.rate / o.c1)),
          c2(T(1 / o.c2)),
          scale(T(o.scale)),
          limit(T(o.limit)),
          nesterov(o.nesterov) {}
};

template <Rule kRule, class T>
inline Vec<T> rule_step(const RuleNumbers<T>& a, Vec<T> p, Vec<T> g, Vec<T>& m, Vec<T>& v, T decay) {
    if constexpr (kRule == Rule::adamw)
        p -= p * (a.rate * decay);
    else
        g += p * decay;
    if constexpr (kRule == Rule::sgd) return p - g * a.rate;
    if constexpr (kRule == Rule::momentum) {
        m = m * a.beta1 + g;
        return p - (a.nesterov ? g + m * a.beta1 : m) * a.rate;
    }
    v = v * a.beta2 + g * g * (T(1) - a.beta2);
    if constexpr (kRule == Rule::rmsprop) return p - g * a.rate / (sqrt(v) + a.eps);
    m = m * a.beta1 + g * (T(1) - a.beta1);
    return p - m * a.c1 / (sqrt(v * a.c2) + a.eps);
}

// Steps n elements from element i of a slice, given their gradient; returns the new values, zero beyond n.
template <class T, Rule kRule>
inline Vec<T> step_at(const RuleNumbers<T>& a, const Slice& slice, int64_t i, int64_t n, Vec<T> g) {
    constexpr bool kHasM = kRule == Rule::momentum || kRule == Rule::adam || kRule == Rule::adamw;
    constexpr bool kHasV = kRule == Rule::rmsprop || kRule == Rule::adam || kRule == Rule::adamw;
    T* p = static_cast<T*>(slice.p) + i;
    T* m = kHasM ? static_cast<T*>(slice.m) + i : nullptr;
    T* v = kHasV ? static_cast<T*>(slice.v) + i : nullptr;
    g *= a.scale;
    if (a.limit > 0) g = g > a.limit ? splat(a.limit) : g < -a.limit ? splat(-a.limit) : g;  // NaN stays NaN
    Vec<T> first{}, second{};
    if constexpr (kHasM) first = load_n(m, n);
    if constexpr (kHasV) second = load_n(v, n);
    const Vec<T> value = rule_step<kRule, T>(a, load_n(p, n), g, first, second, T(slice.decay));
    if constexpr (kHasM) store_n(m, first, n);
    if constexpr (kHasV) store_n(v, second, n);
    store_n(p, value, n);
    return first_n<T>(value, n);
}

// f.template operator()<kRule>() for a rule known at run time
template <class F>
void with_rule(Rule rule, const F& f) {
    switch (rule) {
        case Rule::sgd:
            return f.template operator()<Rule::sgd>();
        case Rule::momentum:
            return f.template operator()<Rule::momentum>();
        case Rule::rmsprop:
            return f.template operator()<Rule::rmsprop>();
        case Rule::adam:
            return f.template operator()<Rule::adam>();
        case Rule::adamw:
            return f.template operator()<Rule::adamw>();
    }
}

}  // namespace unsupfast::USF_ISA
