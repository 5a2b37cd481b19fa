// The continuous Bernoulli's log-normaliser A and its derivative, for reference and CUDA kernels.
#pragma once
#include "elementary.h"

namespace unsupfast {

template <class T>
USF_HD T continuous_norm(T z) {
    const T a = z < T(0) ? -z : z;
    const T rest = a < T(1e-2) ? a * (a * (T(1. / 24) - a * a * T(1. / 2880)) - T(0.5)) : T(log(-T(expm1(-a)) / a));
    return (z > T(0) ? z : T(0)) + rest;
}

template <class T>
USF_HD T continuous_mean(T z) {
    const T a = z < T(0) ? -z : z, s = z * z;
    // Where the difference below loses digits, its series in Bernoulli numbers does not.
    if (a < T(sizeof(T) == 8 ? 0.25 : 1)) {
        T p = T(1.3381e-11);
        p = T(5.2841901386874932e-10) - s * p;
        p = T(2.0876756987868099e-8) - s * p;
        p = T(1. / 1209600) - s * p;
        p = T(1. / 30240) - s * p;
        p = T(1. / 720) - s * p;
        return T(0.5) + z * (T(1. / 12) - s * p);
    }
    const T mean = T(-1) / T(expm1(-a)) - T(1) / a;
    return z < T(0) ? T(1) - mean : mean;
}

}  // namespace unsupfast
