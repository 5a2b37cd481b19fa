// The kinds of unit, for numbers and vectors of them alike: log-partition A(x), mean A'(x), and a sample from a
// uniform u in [0, 1). Included inside a namespace that knows exp, log, sqrt, sigmoid, softplus, tanh and probit of
// both kinds (so there is no #pragma once), with USF_BOTH what such a function is declared as there.

constexpr double kLogRoot2Pi = 0.918938533204672741780;

// exp(a^2) erfc(a) for a >= 0: W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23,
// 1969.
template <class T, class V>
USF_BOTH V scaled_erfc(V a) {
    constexpr double kNear[2][5] = {
        {1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
         3.20937758913846947e3},
        {1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3}};
    constexpr double kMiddle[2][9] = {
        {2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
         2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
         1.23033935479799725e3},
        {1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
         3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3}};
    constexpr double kFar[2][6] = {{1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
                                    1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4},
                                   {1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1,
                                    6.05183413124413191e-2, 2.33520497626869185e-3}};
    const auto ratio = [](V z, const auto& c) {
        V p = V{} + T(c[0][0]), q = V{} + T(c[1][0]);
        for (int i = 1; i < int(sizeof c[0] / sizeof c[0][0]); ++i) {
            p = p * z + T(c[0][i]);
            q = q * z + T(c[1][i]);
        }
        return p / q;
    };
    const V near = a < T(0.5) ? a : V{} + T(0.5), squared = near * near;
    const V low = exp(squared) * (T(1) - near * ratio(squared, kNear));
    const V middle = ratio(a < T(4) ? a : V{} + T(4), kMiddle);
    const V far = a > T(4) ? a : V{} + T(4), inverse = T(1) / far;
    const V high = inverse * (T(0.56418958354775628695) - inverse * inverse * ratio(inverse * inverse, kFar));
    return a < T(0.46875) ? low : a < T(4) ? middle : high;
}

// Mills' ratio of the standard normal, (1 - Phi(a)) / phi(a), for a >= 0
template <class T, class V>
USF_BOTH V mills(V a) {
    return T(1.2533141373155002512) * scaled_erfc<T>(a * T(0.70710678118654752440));
}

// log of the integral of exp(x y - y^2 / 2) over y >= 0
template <class T, class V>
USF_BOTH V rectified_log_partition(V x) {
    const V a = x < T(0) ? -x : x, half = a * a * T(0.5), m = mills<T>(a);
    return x > T(0) ? half + log(T(2.5066282746310005024) - exp(-half) * m) : log(m);
}

template <class T, class V>
USF_BOTH V rectified_mean(V x) {
    const V a = x < T(0) ? -x : x, m = mills<T>(a), bell = exp(-a * a * T(0.5));
    // far below zero 1 / m - a loses its digits; its asymptotic series does not
    const T far = T(sizeof(T) == 8 ? 50 : 8);
    const V inverse = T(1) / (a > far ? a : V{} + far), s = inverse * inverse;
    const V series = inverse * (T(1) - s * (T(2) - s * (T(10) - s * (T(74) - s * T(706)))));
    const V below = a > far ? series : T(1) / m - a;
    return x > T(0) ? x + bell / (T(2.5066282746310005024) - bell * m) : below;
}

// The y >= 0 that a normal variable, given that it is above a >= 0, is above a + y with probability v in (0, 1]:
// Newton's iteration on the logarithm, from an upper bound, which converges from above.
template <class T, class V>
USF_BOTH V normal_tail(V a, V v) {
    const V wanted = log(v), start = log(mills<T>(a));
    V y = T(-2) * wanted / (sqrt(a * a - T(2) * wanted) + a + T(1e-30));
    for (int i = 0; i < 4; ++i) {
        const V m = mills<T>(a + y);
        y = y + m * (log(m) - start - y * (a + y * T(0.5)) - wanted);
        y = y > T(0) ? y : V{};
    }
    return y;
}

template <class T, class V>
USF_BOTH V rectified_sample(V x, V u) {
    const V a = x < T(0) ? -x : x, v = T(1) - u;
    const V outside = mills<T>(a) * exp(-a * a * T(0.5)) * T(0.39894228040143267794);  // 1 - Phi(|x|)
    // above zero: the probability beyond y, taken on the side of the mean that y is on
    const V right = v * (T(1) - outside), left = u + v * outside;
    const V side = right < left ? right : left, least = side > T(1e-37) ? side : V{} + T(1e-37);
    const V t = normal_tail<T>(x > T(0) ? V{} : a, x > T(0) ? T(2) * least : v);
    const V above = right < left ? x + t : x - t;
    const V y = x > T(0) ? above : t;
    return y > T(0) ? y : V{};
}

// The two sides of a double rectified unit: each a rectified one, scaled.
template <class T, class V>
struct Sides {
    V up, down;          // standard deviations
    V x_up, x_down;      // fields of the rectified units
    V p;                 // log odds of being above zero
    V log_up, log_down;  // log-partitions
};

template <class T, class V>
USF_BOTH Sides<T, V> sides(V x, V gap, V asymmetry) {
    Sides<T, V> s;
    s.up = sqrt(T(1) + asymmetry);
    s.down = sqrt(T(1) - asymmetry);
    s.x_up = s.up * (x - gap);
    s.x_down = -s.down * (x + gap);
    s.log_up = rectified_log_partition<T>(s.x_up) + log(s.up);
    s.log_down = rectified_log_partition<T>(s.x_down) + log(s.down);
    s.p = s.log_up - s.log_down;
    return s;
}

template <class T, class V>
USF_BOTH V log_partition_of(Unit unit, V x, V a, V b) {
    switch (unit) {
        case Unit::spin: {
            const V size = x < T(0) ? -x : x;
            return size + softplus(T(-2) * size);
        }
        case Unit::gaussian:
            return x * x * T(0.5) + T(kLogRoot2Pi);
        case Unit::relu:
            return rectified_log_partition<T>(x);
        case Unit::drelu: {
            const auto s = sides<T>(x, a, b);
            return s.log_down + softplus(s.p);
        }
        default:
            return softplus(x);
    }
}

template <class T, class V>
USF_BOTH V mean_of(Unit unit, V x, V a, V b) {
    switch (unit) {
        case Unit::spin:
            return tanh(x);
        case Unit::gaussian:
            return x;
        case Unit::relu:
            return rectified_mean<T>(x);
        case Unit::drelu: {
            const auto s = sides<T>(x, a, b);
            const V p = sigmoid(s.p);
            return p * s.up * rectified_mean<T>(s.x_up) - (T(1) - p) * s.down * rectified_mean<T>(s.x_down);
        }
        default:
            return sigmoid(x);
    }
}

template <class T, class V>
USF_BOTH V sample_of(Unit unit, V x, V a, V b, V u) {
    switch (unit) {
        case Unit::spin:
            return u < sigmoid(x + x) ? V{} + T(1) : V{} - T(1);
        case Unit::gaussian:
            return x + a * probit(u);
        case Unit::relu:
            return rectified_sample<T>(x, u);
        case Unit::drelu: {
            const auto s = sides<T>(x, a, b);
            const V p = sigmoid(s.p);
            const V above = u / (p > T(1e-30) ? p : V{} + T(1e-30));
            const V below = (u - p) / (T(1) - p > T(1e-30) ? T(1) - p : V{} + T(1e-30));
            const V share = u < p ? above : below, most = V{} + (T(1) - T(0x1p-24));
            const V y = rectified_sample<T>(u < p ? s.x_up : s.x_down, share < most ? share : most);
            return u < p ? s.up * y : -s.down * y;
        }
        default:
            return u < sigmoid(x) ? V{} + T(1) : V{};
    }
}
