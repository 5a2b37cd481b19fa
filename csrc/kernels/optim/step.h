// One vector's step: shared by the pass over many tensors and by the products that end in a step.
#pragma once
#include "kernels/optim/op.h"
#include "simd/vec.h"

namespace unsupfast::USF_ISA {

// The numbers of a step of one tensor. Adam's corrections are moved out of the root:
// (m / c1) / (sqrt(v / c2) + eps) = m sqrt(c2) / c1 / (sqrt(v) + eps sqrt(c2)).
template <class T>
struct RuleNumbers {
    T rate, beta1, rest1, rest2, eps, scale, limit, decay;
    bool nesterov, adjusted;  // adjusted: the gradient is not used as it is
    RuleNumbers(const Optimise& o, double decay_)
        : rate(T(o.live ? o.live[0] : o.rate)),
          beta1(T(o.beta1)),
          rest1(T(1 - o.beta1)),
          rest2(T(1 - o.beta2)),
          eps(T(o.eps)),
          scale(T(o.scale) * (o.factor ? *static_cast<const T*>(o.factor) : T(1))),
          limit(T(o.limit)),
          decay(T(decay_)),
          nesterov(o.nesterov),
          adjusted(scale != 1 || o.limit > 0 || (decay_ != 0 && o.rule != Rule::adamw)) {
        if (o.rule == Rule::adamw) decay = T((o.live ? o.live[0] : o.rate) * decay_);
        if (o.rule == Rule::adam || o.rule == Rule::adamw) {
            const double root = __builtin_sqrt(o.live ? 1 / o.live[2] : o.c2);
            rate = T((o.live ? o.live[1] : o.rate / o.c1) * root);
            eps = T(o.eps * root);
        }
    }
};

template <Rule kRule, class T>
inline Vec<T> rule_step(const RuleNumbers<T>& a, Vec<T> p, Vec<T> g, Vec<T>& m, Vec<T>& v) {
    if constexpr (kRule == Rule::adamw) p -= p * a.decay;
    if constexpr (kRule == Rule::sgd) return p - g * a.rate;
    if constexpr (kRule == Rule::momentum) {
        m = m * a.beta1 + g;
        return p - (a.nesterov ? g + m * a.beta1 : m) * a.rate;
    }
    v += (g * g - v) * a.rest2;
    if constexpr (kRule != Rule::rmsprop) {
        m += (g - m) * a.rest1;
        g = m;
    }
    return p - g * a.rate / (sqrt(v) + a.eps);
}

// Steps n elements from element i of a slice, given their gradient; returns the new values, zero beyond n.
template <class T, Rule kRule>
inline Vec<T> step_at(const RuleNumbers<T>& a, const Slice& slice, int64_t i, int64_t n, Vec<T> g) {
    constexpr bool kHasM = kRule == Rule::momentum || kRule == Rule::adam || kRule == Rule::adamw;
    constexpr bool kHasV = kRule == Rule::rmsprop || kRule == Rule::adam || kRule == Rule::adamw;
    T* p = static_cast<T*>(slice.p) + i;
    T* m = kHasM ? static_cast<T*>(slice.m) + i : nullptr;
    T* v = kHasV ? static_cast<T*>(slice.v) + i : nullptr;
    if (a.adjusted) {
        g *= a.scale;
        if (a.limit > 0) g = g > a.limit ? splat(a.limit) : g < -a.limit ? splat(-a.limit) : g;  // NaN stays NaN
        if constexpr (kRule != Rule::adamw) g += load_n(p, n) * a.decay;
    }
    Vec<T> first{}, second{};
    if constexpr (kHasM) first = load_n(m, n);
    if constexpr (kHasV) second = load_n(v, n);
    const Vec<T> value = rule_step<kRule, T>(a, load_n(p, n), g, first, second);
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
