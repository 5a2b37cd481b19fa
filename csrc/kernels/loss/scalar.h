// The continuous Bernoulli's log-normaliser A and its derivative, for reference and CUDA kernels.
#pragma once
#include "elementary.h"

namespace unsupfast {

template <class T>
USF_HD T continuous_norm(T z) {
    const T a = z < T(0) ? -z : z;
    const T rest = a < T(1e-2) ? a * (a / T(24) - T(0.5)) : T(log(-T(expm1(-a)) / a));
    return (z > T(0) ? z : T(0)) + rest;
}

template <class T>
USF_HD T continuous_mean(T z) {
    const T a = z < T(0) ? -z : z, s = z * z;
    if (a < T(1))
        return T(0.5) +
               z * (T(1. / 12) - s * (T(1. / 720) - s * (T(1. / 30240) - s * (T(1. / 1209600) - s * T(2.0876757e-8)))));
    const T mean = T(-1) / T(expm1(-a)) - T(1) / a;
    return z < T(0) ? T(1) - mean : mean;
}

}  // namespace unsupfast
