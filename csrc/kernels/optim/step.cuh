// One element's step on the GPU: shared by the pass over many tensors and by the products that end in a step.
#pragma once
#include "kernels/optim/op.h"

namespace unsupfast::cuda {

template <class T>
struct StepNumbers {
    Rule rule;
    bool nesterov;
    T rate, beta1, beta2, eps, c1, c2, scale, limit;  // c1 = rate / c1, c2 = 1 / c2 of the op
    const double* live;
    const T* factor;
    explicit StepNumbers(const Optimise& o)
        : rule(o.rule),
          nesterov(o.nesterov),
          rate(T(o.rate)),
          beta1(T(o.beta1)),
          beta2(T(o.beta2)),
          eps(T(o.eps)),
          c1(T(o.rate / o.c1)),
          c2(T(1 / o.c2)),
          scale(T(o.scale)),
          limit(T(o.limit)),
          live(o.live),
          factor(static_cast<const T*>(o.factor)) {}
    // With what lies in memory.
    __device__ __forceinline__ StepNumbers now() const {
        StepNumbers a = *this;
        if (live) {
            a.rate = T(live[0]);
            a.c1 = T(live[1]);
            a.c2 = T(live[2]);
        }
        if (factor) a.scale *= *factor;
        return a;
    }
};

// What a step reads of an element and writes: the parameter and its moments.
template <class T>
struct Stepped {
    T p = T(0), m = T(0), v = T(0);

    Stepped() = default;
    __device__ __forceinline__ Stepped(const Slice& slice, int64_t i)
        : p(static_cast<const T*>(slice.p)[i]),
          m(slice.m ? static_cast<const T*>(slice.m)[i] : T(0)),
          v(slice.v ? static_cast<const T*>(slice.v)[i] : T(0)) {}
    __device__ __forceinline__ void store(const Slice& slice, int64_t i) const {
        static_cast<T*>(slice.p)[i] = p;
        if (slice.m) static_cast<T*>(slice.m)[i] = m;
        if (slice.v) static_cast<T*>(slice.v)[i] = v;
    }
    __device__ __forceinline__ void step(const StepNumbers<T>& a, T decay, T g) {
        g *= a.scale;
        if (a.limit > T(0)) g = g > a.limit ? a.limit : g < -a.limit ? -a.limit : g;  // NaN stays NaN
        if (a.rule == Rule::adamw)
            p -= p * (a.rate * decay);
        else
            g += p * decay;
        if (a.rule == Rule::sgd) {
            p -= a.rate * g;
        } else if (a.rule == Rule::momentum) {
            m = m * a.beta1 + g;
            p -= a.rate * (a.nesterov ? g + m * a.beta1 : m);
        } else {
            v = v * a.beta2 + g * g * (T(1) - a.beta2);
            if (a.rule == Rule::rmsprop) {
                p -= a.rate * g / (sqrt(v) + a.eps);
            } else {
                m = m * a.beta1 + g * (T(1) - a.beta1);
                p -= m * a.c1 / (sqrt(v * a.c2) + a.eps);
            }
        }
    }
};

}  // namespace unsupfast::cuda
