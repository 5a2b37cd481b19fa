// Vectorised elementary functions: polynomials, errors stated at each function and checked by tests/test_vector.py.
// Bounds are those of float and of double where nothing else is said; double takes every number, denormal ones and Inf
// too.
#pragma once

#include "philox.h"
#include "simd/vec.h"

namespace unsupfast::USF_ISA {

// Adding them rounds to an integer, kept in the low bits: 1.5 times the power of two below which all bits count.
constexpr float kRound32 = 12582912.f;
constexpr double kRound64 = 6755399441055744.;

// p 2^n for an integer n, in two factors: from denormal numbers to Inf.
inline vf32 scale(vf32 p, vf32 n) {
    const vf32 t = n * 0.5f + kRound32, half = t - kRound32, rest = n - half + kRound32;
    const uint32_t one = 0x3f800000u;
    return p * bits<vf32>((bits<vu32>(t) << 23) + one) * bits<vf32>((bits<vu32>(rest) << 23) + one);
}
inline vf64 scale(vf64 p, vf64 n) {
    const vf64 t = n * 0.5 + kRound64, half = t - kRound64, rest = n - half + kRound64;
    const uint64_t one = uint64_t(0x3ff) << 52;
    return p * bits<vf64>((bits<vu64>(t) << 52) + one) * bits<vf64>((bits<vu64>(rest) << 52) + one);
}

// exp(x) / 2^n for n the integer nearest x / log 2: Cephes expf polynomial of r = x - n log 2
inline vf32 exp_core(vf32 x, vf32 n) {
    const vf32 r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    vf32 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r + 1.f;
}

// (exp(r) - 1 - r) / r^2 for |r| <= log 2 / 2: Taylor's series
inline vf64 exp_rest(vf64 r) {
    constexpr double c[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320,
                            1. / 5040,       1. / 720,       1. / 120,      1. / 24,      1. / 6,      1. / 2};
    vf64 p = vf64{} + c[0];
    for (int i = 1; i < 12; ++i) p = p * r + c[i];
    return p;
}
inline vf64 less_log2(vf64 x, vf64 n) { return (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10; }

// exp for -87.3 <= x <= 88.3, clamped to that range outside it; < 1.5 ULP.
inline vf32 exp(vf32 x) {
    const vf32 given = x;
    x = min<float>(max<float>(x, splat(-87.3f)), splat(88.3f));
    const vf32 t = x * 1.44269504f + kRound32;
    const vf32 p = exp_core(x, t - kRound32);
    return given == given ? bits<vf32>(bits<vu32>(p) + (bits<vu32>(t) << 23)) : given;  // NaN stays NaN
}
inline vf64 exp(vf64 x) {
    x = x < -746. ? splat(-746.) : x > 710. ? splat(710.) : x;
    const vf64 n = (x * 1.4426950408889634 + kRound64) - kRound64;
    const vf64 r = less_log2(x, n);
    return scale(exp_rest(r) * (r * r) + r + 1., n);
}

// exp of any number: denormal numbers and 0 below that range, Inf above it
inline vf32 full_exp(vf32 x) {
    x = x < -104.f ? splat(-104.f) : x > 89.f ? splat(89.f) : x;
    const vf32 n = (x * 1.44269504f + kRound32) - kRound32;
    return scale(exp_core(x, n), n);
}
inline vf64 full_exp(vf64 x) { return exp(x); }

// log(1 + z) for sqrt(1/2) - 1 <= z <= sqrt(2) - 1: Cephes logf polynomial
inline vf32 log1p_core(vf32 z) {
    vf32 p = z * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * z + 1.1676998740e-1f;
    p = p * z - 1.2420140846e-1f;
    p = p * z + 1.4249322787e-1f;
    p = p * z - 1.6668057665e-1f;
    p = p * z + 2.0000714765e-1f;
    p = p * z - 2.4999993993e-1f;
    p = p * z + 3.3333331174e-1f;
    const vf32 z2 = z * z;
    return z + (z2 * z * p - z2 * 0.5f);
}

// log of a positive normal number; < 2 ULP away from 1, < 1e-7 absolute near it
inline vf32 log(vf32 x) {
    vu32 u = bits<vu32>(x) - 0x3f3504f3u;  // sqrt(1/2): exponent of x relative to [sqrt(1/2), sqrt(2))
    const vi32 e = bits<vi32>(u) >> 23;
    u = (u & 0x007fffffu) + 0x3f3504f3u;
    return log1p_core(bits<vf32>(u) - 1.f) + __builtin_convertvector(e, vf32) * 0.693147181f;
}

// The logarithm of any number, given that of positive normal ones
template <class T>
inline Vec<T> complete_log(Vec<T> x, Vec<T> (*normal_log)(Vec<T>)) {
    constexpr bool f64 = sizeof(T) == 8;
    const Vec<T> least_normal = splat(T(f64 ? 0x1p-1022 : 0x1p-126)), inf = splat(T(__builtin_inf()));
    const Vec<T> y = normal_log(x < least_normal ? x * T(0x1p64) : x) -
                     (x < least_normal ? splat(T(44.361419555836499802702855773323)) : Vec<T>{});
    const Vec<T> finite = x > T(0) ? y : x == T(0) ? -inf : splat(T(__builtin_nan("")));
    return x < inf ? finite : x;  // Inf, and NaN as it came
}

// fdlibm's log for sqrt(1/2) <= 1 + f < sqrt(2), plus e log 2
inline vf64 log_core(vf64 f, vf64 e) {
    const vf64 s = f / (f + 2.), z = s * s, half = f * f * 0.5;
    vf64 p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01;
    p = p * z + 1.818357216161805012e-01;
    p = p * z + 2.222219843214978396e-01;
    p = p * z + 2.857142874366239149e-01;
    p = p * z + 3.999999999940941908e-01;
    p = p * z + 6.666666666666735130e-01;
    return e * 6.93147180369123816490e-01 - ((half - (s * (half + p * z) + e * 1.90821492927058770002e-10)) - f);
}
inline vf64 normal_log(vf64 x) {
    const uint64_t root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
    const vu64 u = bits<vu64>(x) - root;
    const vi64 e = bits<vi64>(u) >> 52;
    const vf64 m = bits<vf64>((u & ((uint64_t(1) << 52) - 1)) + root);
    return log_core(m - 1., bits<vf64>(e + bits<int64_t>(kRound64)) - kRound64);
}
inline vf64 log(vf64 x) { return complete_log<double>(x, normal_log); }  // < 1 ULP

inline vf32 full_log(vf32 x) { return complete_log<float>(x, log); }
inline vf64 full_log(vf64 x) { return log(x); }

// Absolute error < 1e-7, relative < 3 ULP; exact limits 0 and 1 are approached, never passed.
inline vf32 sigmoid(vf32 x) {
    const vf32 e = exp(x < 0.f ? x : -x);
    const vf32 r = 1.f / (1.f + e);
    return x < 0.f ? e * r : r;
}
inline vf64 sigmoid(vf64 x) {
    const vf64 e = exp(x < 0. ? x : -x);
    const vf64 r = 1. / (1. + e);
    return x < 0. ? e * r : r;
}

// Absolute error < 1e-7, relative < 3 ULP: Cephes tanhf near zero, else from exp.
inline vf32 tanh(vf32 x) {
    const uint32_t sign = 0x80000000u;
    const vu32 u = bits<vu32>(x);
    const vf32 a = bits<vf32>(u & ~sign), s = x * x;
    vf32 p = s * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    const vf32 b = a > 10.f ? splat(20.f) : a + a, t = b * 1.44269504f + kRound32;  // tanh(10) rounds to 1
    const vf32 e = exp_core(b, t - kRound32) * bits<vf32>((bits<vu32>(t) << 23) + 0x3f800000u);
    const vf32 far = 1.f - 2.f / (e + 1.f);
    return a < 0.625f ? x + x * s * p : bits<vf32>(bits<vu32>(far) | (u & sign));
}

// exp(x) - 1 for x <= 0; absolute error < 1e-7, relative < 4 ULP: Taylor's series near zero, else from exp.
inline vf32 expm1(vf32 x) {
    vf32 p = x * 1.3888889e-3f + 8.3333333e-3f;
    p = p * x + 4.1666667e-2f;
    p = p * x + 1.6666667e-1f;
    p = p * x + 0.5f;
    return x > -0.35f ? x + x * x * p : exp(x) - 1.f;
}
inline vf64 expm1(vf64 x) {
    x = x < -40. ? splat(-40.) : x;
    const vf64 t = x * 1.4426950408889634 + kRound64, n = t - kRound64, r = less_log2(x, n);
    const vf64 power = bits<vf64>((bits<vu64>(t) << 52) + (uint64_t(0x3ff) << 52));
    return power * (exp_rest(r) * (r * r) + r) + (power - 1.);
}

// < 3 ULP
inline vf64 tanh(vf64 x) {
    const vf64 e = expm1(x < 0. ? x * 2. : x * -2.), y = -e / (e + 2.);
    return x < 0. ? -y : y;
}

// log(1 + exp(x)); < 3 ULP for x > -87
inline vf32 softplus(vf32 x) {
    const vf32 e = exp(x < 0.f ? x : -x);
    const vi32 large = e > 0.414213562f;
    const vf32 l = log1p_core(large ? (e - 1.f) * 0.5f : e) + (large ? splat(0.693147181f) : vf32{});
    return (x > 0.f ? x : vf32{}) + l;
}
inline vf64 softplus(vf64 x) {
    const vf64 e = exp(x < 0. ? x : -x), u = e + 1.;
    return (x > 0. ? x : vf64{}) + (normal_log(u) + (e - (u - 1.)) / u);  // what rounding 1 + e lost is put back
}

// The continuous Bernoulli's log-normaliser A(z) = log((exp(z) - 1) / z) and its derivative: elementary.h
template <class T>
inline Vec<T> continuous_norm(Vec<T> z) {
    const Vec<T> a = max<T>(z, -z);
    const Vec<T> rest = a < T(1e-2) ? a * (a * (T(1. / 24) - a * a * T(1. / 2880)) - T(0.5))
                                    : log(-expm1(-max<T>(a, splat(T(1e-3)))) / a);
    return max<T>(z, Vec<T>{}) + rest;
}

template <class T>
inline Vec<T> continuous_mean(Vec<T> z) {
    const Vec<T> a = max<T>(z, -z), s = z * z;
    const T series = T(sizeof(T) == 8 ? 0.25 : 1);  // elementary.h says why
    Vec<T> p = T(5.2841901386874932e-10) - s * T(1.3381e-11);
    p = T(2.0876756987868099e-8) - s * p;
    p = T(1. / 1209600) - s * p;
    p = T(1. / 30240) - s * p;
    p = T(1. / 720) - s * p;
    const Vec<T> near = T(0.5) + z * (T(1. / 12) - s * p);
    const Vec<T> mean = T(-1) / expm1(-max<T>(a, splat(series))) - T(1) / a;
    return a < series ? near : z < T(0) ? T(1) - mean : mean;
}

// Standard normal quantile, see elementary.h; absolute error < 4e-6 in the body, < 1e-3 of a sigma at |z| > 5
template <class T>
inline Vec<T> probit_of(Vec<T> u) {
    using V = Vec<T>;
    const V x = (2 * u - 1) + float(0x1p-24);  // exact in float
    const V w = -log(V((1 - x) * (1 + x)));
    V a = w - 2.5f, b = sqrt(w) - 3;
    const auto poly = [](V t, const T(&c)[9]) {
        V p = V{} + c[0];
        for (int i = 1; i < 9; ++i) p = p * t + c[i];
        return p;
    };
    const T body[9] = {T(2.81022636e-08), T(3.43273939e-07), T(-3.5233877e-06), T(-4.39150654e-06), T(0.00021858087),
                       T(-0.00125372503), T(-0.00417768164), T(0.246640727),    T(1.50140941)};
    const T tail[9] = {T(-0.000200214257), T(0.000100950558), T(0.00134934322), T(-0.00367342844), T(0.00573950773),
                       T(-0.0076224613),   T(0.00943887047),  T(1.00167406),    T(2.83297682)};
    return (w < 5 ? poly(a, body) : poly(b, tail)) * x * T(1.4142135623730951);
}
inline vf32 probit(vf32 u) { return probit_of<float>(u); }
inline vf64 probit(vf64 u) { return probit_of<double>(u); }

// A vector of T from floats.
template <class T>
inline Vec<T> from_floats(const float* u) {
    if constexpr (sizeof(T) == 4) {
        return load(u);
    } else {
        Vec<T> v;
        for (int i = 0; i < kLanes<T>; ++i) v[i] = u[i];
        return v;
    }
}

// The products of the low 32 bits of all lanes with a 32-bit constant.
inline vu64 multiply_low(vu64 x, uint32_t c) {
#if defined(__AVX512F__)
    return (vu64)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(int64_t(c)));
#elif defined(__AVX2__)
    return (vu64)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(int64_t(c)));
#elif defined(__SSE2__)
    return (vu64)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(int64_t(c)));
#else
    return (x & 0xffffffffu) * c;
#endif
}

// Philox on a word of the counter per 64-bit lane: what ends up in the upper halves is never read.
inline void philox(uint64_t seed, vu64 (&c)[4]) {
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const vu64 p0 = multiply_low(c[0], 0xD2511F53u), p1 = multiply_low(c[2], 0xCD9E8D57u);
        c[0] = (p1 >> 32) ^ c[1] ^ k0;
        c[2] = (p0 >> 32) ^ c[3] ^ k1;
        c[1] = p1;
        c[3] = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

// u[r][j] for `rows` rows from global row `row` and the 32 units from `unit` (a multiple of 32): 8 neighbouring
// blocks a row.
inline void uniform_tile(uint64_t seed, uint32_t step, uint32_t stream, uint32_t row, int rows, uint32_t unit,
                         float (*u)[32]) {
    constexpr int L = kLanes<double>;
    vu64 lane;
    vi32 low_halves;
    for (int i = 0; i < L; ++i) {
        lane[i] = uint64_t(i);
        low_halves[i] = 2 * i;
        low_halves[L + i] = 2 * L + 2 * i;
    }
    for (int r = 0; r < rows; ++r)
        for (int b = 0; b < 8; b += L) {
            vu64 c[4] = {lane + (unit / 4 + uint32_t(b)), vu64{} + (row + uint32_t(r)), vu64{} + step, vu64{} + stream};
            philox(seed, c);
            for (int w = 0; w < 4; w += 2) {
                const vu32 words = __builtin_shuffle(bits<vu32>(c[w]), bits<vu32>(c[w + 1]), low_halves);
                const vf32 x = __builtin_convertvector(bits<vi32>(words >> 8), vf32) * 0x1p-24f;
                if constexpr (L == 8) {
                    store(&u[r][8 * w], x);
                } else {
                    std::memcpy(&u[r][8 * w + b], &x, sizeof x / 2);
                    std::memcpy(&u[r][8 * w + 8 + b], reinterpret_cast<const char*>(&x) + sizeof x / 2, sizeof x / 2);
                }
            }
        }
}

}  // namespace unsupfast::USF_ISA
