// Activations and their derivatives for reference and CUDA kernels.
#pragma once
#include "elementary.h"
#include "kernels/dense/op.h"

namespace unsupfast {

template <class T>
USF_HD T activate(Activation act, T x) {
    switch (act) {
        case Activation::sigmoid:
            return sigmoid(x);
        case Activation::tanh:
            return T(tanh(x));
        case Activation::relu:
            return x > T(0) ? x : T(0);
        case Activation::leaky_relu:
            return x > T(0) ? x : T(kLeakySlope) * x;
        case Activation::elu:
            return x > T(0) ? x : T(expm1(x));
        case Activation::softplus:
            return softplus(x);
        case Activation::identity:
            break;
    }
    return x;
}

// act'(x) where act(x) = y
template <class T>
USF_HD T slope(Activation act, T y) {
    switch (act) {
        case Activation::sigmoid:
            return y * (T(1) - y);
        case Activation::tanh:
            return T(1) - y * y;
        case Activation::relu:
            return y > T(0) ? T(1) : T(0);
        case Activation::leaky_relu:
            return y > T(0) ? T(1) : T(kLeakySlope);
        case Activation::elu:
            return y > T(0) ? T(1) : y + T(1);
        case Activation::softplus:
            return -T(expm1(-y));
        case Activation::identity:
            break;
    }
    return T(1);
}

// The derivative of the slope by y.
template <class T>
USF_HD T curvature(Activation act, T y) {
    switch (act) {
        case Activation::sigmoid:
            return T(1) - T(2) * y;
        case Activation::tanh:
            return T(-2) * y;
        case Activation::elu:
            return y < T(0) ? T(1) : T(0);
        case Activation::softplus:
            return T(exp(-y));
        default:
            return T(0);
    }
}

}  // namespace unsupfast
