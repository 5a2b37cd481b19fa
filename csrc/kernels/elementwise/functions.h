// What the table's expressions call beside csrc/elementary.h and csrc/simd/vmath.h, for numbers and vectors of them
// alike. Included inside a namespace that knows exp, max and the rest of both kinds (so there is no #pragma once), with
// USF_BOTH what such a function is declared as there.

// Derivative kOrder (2, 3 or 4) of the continuous Bernoulli's log-normaliser A(z) = log((exp(z) - 1) / z): its
// cumulants. The closed form subtracts poles at 0 that cancel; near 0 stands the derivative of the series
// A(z) = z / 2 + sum_k B_2k / (2k (2k)!) z^2k, which converges for |z| < 2 pi.
template <int kOrder, class T, class V>
USF_BOTH V continuous_cumulant(V z) {
    constexpr double kSeries[] = {
        4.16666666666666644e-02, -3.47222222222222235e-04, 5.51146384479717850e-06, -1.03339947089947094e-07,
        2.08767569878681002e-09, -4.40349178223957768e-11, 9.55895466477476975e-13, -2.11855018520161420e-14,
        4.77003447570991398e-16, -1.08743434927903093e-17, 2.50409219470919546e-19, -5.81436028575521788e-21,
        1.35950270754979524e-22, -3.19768479537055250e-24, 7.55984150779227651e-26, -1.79524708402256327e-27,
        4.27991904592607298e-29, -1.02388748351814169e-30, 2.45703533081448546e-32, -5.91255603925157489e-34,
        1.42635041963860348e-35, -3.44876110106429602e-37, 8.35599592490040932e-39, -2.02840689013472721e-40};
    const T near = T(sizeof(T) == 8 ? 2.5 : 3.5);
    const V a = z < T(0) ? -z : z, s = z * z;
    V series{};
    for (int k = 24; k >= (kOrder + 1) / 2; --k) {
        double c = kSeries[k - 1];
        for (int i = 0; i < kOrder; ++i) c *= 2 * k - i;
        series = series * s + T(c);
    }
    if (kOrder == 3) series = series * z;

    const V far = a < near ? V{} + near : a;
    const V e = exp(-far), p = T(1) / (T(1) - e), w = e * p * p, q = T(1) / far;
    V closed = q * q - w;
    if (kOrder == 3) {
        closed = (T(2) * p - T(1)) * w - T(2) * q * q * q;
        closed = z < T(0) ? -closed : closed;
    }
    if (kOrder == 4) closed = T(6) * q * q * q * q - w * (T(1) + T(6) * w);
    return a < near ? series : closed;
}
