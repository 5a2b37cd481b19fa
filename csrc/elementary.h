// Scalar elementary functions for reference kernels (host) and CUDA kernels (device).
#pragma once
#include <cmath>

#include "philox.h"

namespace unsupfast {

template <class T>
USF_HD T sigmoid(T x) {
    // exp of a non-positive number only: no overflow for any x
    const T e = T(exp(x < 0 ? x : -x));
    return (x < 0 ? e : T(1)) / (T(1) + e);
}

template <class T>
USF_HD T softplus(T x) {
    return (x > 0 ? x : T(0)) + T(log1p(exp(x > 0 ? -x : x)));
}

// The largest T that is not above u in [0, 1): u < p decides the same for every p of type T.
template <class T>
USF_HD T rounded_down(double u) {
    const T x = T(u);
    return double(x) > u ? T(nextafterf(float(x), 0.0f)) : x;  // only a float can be above
}

// The standard normal quantile of (u + 2^-25) for u a multiple of 2^-24 in [0, 1): Giles, "Approximating
// the erfinv function" (GPU Computing Gems 2, 2011), single-precision polynomials. |z| <= 5.4.
template <class T>
USF_HD T probit(T u) {
    const T x = (T(2) * u - T(1)) + T(0x1p-24);  // exact in float
    T w = -T(log((T(1) - x) * (T(1) + x))), p;
    if (w < T(5)) {
        w -= T(2.5);
        p = T(2.81022636e-08);
        p = T(3.43273939e-07) + p * w;
        p = T(-3.5233877e-06) + p * w;
        p = T(-4.39150654e-06) + p * w;
        p = T(0.00021858087) + p * w;
        p = T(-0.00125372503) + p * w;
        p = T(-0.00417768164) + p * w;
        p = T(0.246640727) + p * w;
        p = T(1.50140941) + p * w;
    } else {
        w = T(sqrt(w)) - T(3);
        p = T(-0.000200214257);
        p = T(0.000100950558) + p * w;
        p = T(0.00134934322) + p * w;
        p = T(-0.00367342844) + p * w;
        p = T(0.00573950773) + p * w;
        p = T(-0.0076224613) + p * w;
        p = T(0.00943887047) + p * w;
        p = T(1.00167406) + p * w;
        p = T(2.83297682) + p * w;
    }
    return T(1.4142135623730951) * p * x;
}

// The continuous Bernoulli's log-normaliser A(z) = log((exp(z) - 1) / z) and its derivative, the mean.
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
