// One unit's part of each operation, for the plain loops and for the GPU's threads alike.
#pragma once
#include "elementary.h"
#include "kernels/contrast/op.h"

namespace unsupfast {

template <class T>
USF_HD void contrast_visible(const ContrastGradient& p, int64_t i) {
    const T precision = p.precision ? static_cast<const T*>(p.precision)[i] : T(1);
    const T scale = precision / T(p.total);
    static_cast<T*>(p.row_scale)[i] = scale;
    static_cast<T*>(p.dv)[i] *= scale;
    if (p.hidden_mean) static_cast<T*>(p.offset_shift)[i] = static_cast<const T*>(p.visible_offset)[i] * precision;
}

template <class T>
USF_HD void contrast_hidden(const ContrastGradient& p, int64_t j) {
    T& dh = static_cast<T*>(p.dh)[j];
    dh /= T(p.total);
    if (!p.hidden_mean) return;
    T& q = static_cast<T*>(p.hidden_offset)[j];
    q = T(p.decay) * q + (T(1) - T(p.decay)) * static_cast<const T*>(p.hidden_mean)[j];
    const T push = p.target >= 0 ? T(p.cost) * (T(p.target) - q) : T(0);
    static_cast<T*>(p.rank_right)[j] = (p.centred ? dh : T(0)) - push;
    dh += push;
}

// How many of n numbers, `stride` apart, are before number i: smaller ones, and equal ones of a lower index.
template <class T>
USF_HD T rank_among(const T* x, int64_t n, int64_t stride, int64_t i) {
    T count(0);
    for (int64_t j = 0; j < n; ++j)
        if (x[j * stride] < x[i * stride] || (j < i && x[j * stride] == x[i * stride])) count += T(1);
    return count;
}

template <class T>
USF_HD void rank_in_row(const SelectiveTargets& p, int64_t row, int64_t unit) {
    const T* x = static_cast<const T*>(p.activities) + row * p.n;
    static_cast<T*>(p.ranks)[row * p.n + unit] = rank_among<T>(x, p.n, 1, unit);
}

template <class T>
USF_HD void towards_target(const SelectiveTargets& p, int64_t row, int64_t unit) {
    const T rank = rank_among<T>(static_cast<const T*>(p.ranks) + unit, p.rows, p.n, row);
    const T share = (rank + T(0.5)) / T(p.rows), exponent = T(1 / p.target - 1);
    T& h = static_cast<T*>(p.activities)[row * p.n + unit];
    h = (T(1) - T(p.cost)) * h + T(p.cost) * T(exp(exponent * log(share)));
}

// False if the new value is not finite.
template <class T>
USF_HD bool momentum_step(const MomentumSlice& s, double rate, double momentum, int64_t i) {
    T& v = static_cast<T*>(s.v)[i];
    v = T(momentum) * v + T(rate) * static_cast<const T*>(s.g)[i];
    if (!s.p) return true;
    T& p = static_cast<T*>(s.p)[i];
    p += v;
    const bool finite = p - p == T(0);
    if (p < T(s.low)) p = T(s.low);
    if (p > T(s.high)) p = T(s.high);
    return finite;
}

template <class T>
USF_HD void variance_gradient(const VarianceGradient& p, int64_t i) {
    const T *x = static_cast<const T*>(p.x), *contrast = static_cast<const T*>(p.contrast);
    const T a = static_cast<const T*>(p.bias)[i];
    T sum(0);
    for (int64_t b = 0; b < p.rows; ++b) {
        const T d = x[b * p.n + i] - a;
        sum += contrast[b] * d * d;
    }
    static_cast<T*>(p.dz)[i] =
        static_cast<const T*>(p.row_scale)[i] * (sum / T(2) - static_cast<const T*>(p.row_dot)[i]);
}

template <class T>
USF_HD void variances(const Variances& p, int64_t i) {
    const T z = static_cast<const T*>(p.z)[i];
    static_cast<T*>(p.precision)[i] = T(exp(-z));
    static_cast<T*>(p.sigma)[i] = T(exp(z / T(2)));
}

template <class T>
USF_HD void shape_gradient(const ShapeGradient& p, int64_t j) {
    const T *states = static_cast<const T*>(p.states), *contrast = static_cast<const T*>(p.contrast);
    const T asymmetry = static_cast<const T*>(p.shape)[p.n + j];
    T gap(0), skew(0);
    for (int64_t b = 0; b < p.rows; ++b) {
        const T y = states[b * p.n + j], side = y < T(0) ? T(-1) : T(1), width = T(1) + side * asymmetry;
        gap -= contrast[b] * side * y;
        skew += contrast[b] * side * y * y / (T(2) * width * width);
    }
    static_cast<T*>(p.gradient)[j] += T(p.scale) * gap;
    static_cast<T*>(p.gradient)[p.n + j] += T(p.scale) * skew;
}

// Columns first, first + step, ... of row i
template <class T>
USF_HD double shifted_sum(const WeighAnnealed& p, int64_t i, int64_t first, int64_t step) {
    const T* shift = static_cast<const T*>(p.shift);
    double sum = 0;
    for (int64_t j = first; j < p.n; j += step) {
        const double x = p.states.bits ? double(p.states.bits[i * p.states.row_stride + j / 32] >> j % 32 & 1u)
                                       : double(static_cast<const T*>(p.states.data)[i * p.states.row_stride + j]);
        sum += x * double(shift[j]);
    }
    return sum;
}

}  // namespace unsupfast
