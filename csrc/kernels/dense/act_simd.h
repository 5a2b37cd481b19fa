// Activations of vectors, and derivatives as functions of their outputs.
#pragma once
#include "kernels/dense/op.h"
#include "simd/vmath.h"

namespace unsupfast::USF_ISA {

template <class T, Activation kAct>
inline Vec<T> activate(Vec<T> x) {
    if constexpr (kAct == Activation::sigmoid) return sigmoid(x);
    if constexpr (kAct == Activation::tanh) return tanh(x);
    if constexpr (kAct == Activation::relu) return max<T>(x, Vec<T>{});
    if constexpr (kAct == Activation::leaky_relu) return x > T(0) ? x : x * T(kLeakySlope);
    if constexpr (kAct == Activation::elu) return x > T(0) ? x : expm1(min<T>(x, Vec<T>{}));
    if constexpr (kAct == Activation::softplus) return softplus(x);
    return x;
}

template <class T, Activation kAct>
inline Vec<T> slope(Vec<T> y) {
    const Vec<T> one = splat(T(1));
    if constexpr (kAct == Activation::sigmoid) return y * (one - y);
    if constexpr (kAct == Activation::tanh) return one - y * y;
    if constexpr (kAct == Activation::relu) return y > T(0) ? one : Vec<T>{};
    if constexpr (kAct == Activation::leaky_relu) return y > T(0) ? one : splat(T(kLeakySlope));
    if constexpr (kAct == Activation::elu) return y > T(0) ? one : y + one;
    if constexpr (kAct == Activation::softplus) return -expm1(-y);
    return one;
}

// The derivative of the slope by y.
template <class T, Activation kAct>
inline Vec<T> curvature(Vec<T> y) {
    const Vec<T> one = splat(T(1));
    if constexpr (kAct == Activation::sigmoid) return one - y * T(2);
    if constexpr (kAct == Activation::tanh) return y * T(-2);
    if constexpr (kAct == Activation::elu) return y < T(0) ? one : Vec<T>{};
    if constexpr (kAct == Activation::softplus) return exp(-y);
    return Vec<T>{};
}

// f.template operator()<kAct>() for an activation known at run time
template <class F>
void with_activation(Activation act, const F& f) {
    switch (act) {
        case Activation::identity:
            return f.template operator()<Activation::identity>();
        case Activation::sigmoid:
            return f.template operator()<Activation::sigmoid>();
        case Activation::tanh:
            return f.template operator()<Activation::tanh>();
        case Activation::relu:
            return f.template operator()<Activation::relu>();
        case Activation::leaky_relu:
            return f.template operator()<Activation::leaky_relu>();
        case Activation::elu:
            return f.template operator()<Activation::elu>();
        case Activation::softplus:
            return f.template operator()<Activation::softplus>();
    }
}

}  // namespace unsupfast::USF_ISA
