// The table on single numbers, for the plain loops and for the GPU's threads. Included inside a namespace with USF_BOTH
// what functions are declared as there (so there is no #pragma once).
#include "kernels/elementwise/functions.h"

template <class T>
USF_BOTH T full_exp(T a) {
    return exp(a);
}
#if defined(__CUDACC__)
// Closer than expf (1 ULP): as on the CPU, simd/vmath.h
template <>
USF_BOTH float full_exp(float a) {
    a = a < -104.f ? -104.f : a > 89.f ? 89.f : a;  // NaN stays
    const float n = rintf(a * 1.44269504f), r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, a));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    return ldexpf(1.f + fmaf(r * r, p, r), int(n));
}
#endif
template <class T>
USF_BOTH T full_log(T a) {
    return log(a);
}
template <class T>
USF_BOTH T power(T a, T b) {
    return pow(a, b);
}

template <class T>
USF_BOTH T value(Elementary f, T a, T b, bool condition) {
    using V = T;
    switch (f) {
#define F(name, cost, value) \
    case Elementary::name:   \
        return value;
        USF_UNARY(F)
        USF_BINARY(F)
#undef F
        case Elementary::where:
            return condition ? a : b;
    }
    return a;
}
