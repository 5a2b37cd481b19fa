// What of an update beside its products is worth vectors: sums over all rows, and ranks.
#include "kernels/contrast/op.h"

#include "kernels/gemm/engine.h"
#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

enum RankScratch : int { kColumnScratch = 4 };

template <class T>
void variance_gradient(const VarianceGradient& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T *x = static_cast<const T*>(p.x), *contrast = static_cast<const T*>(p.contrast);
    const T *bias = static_cast<const T*>(p.bias), *dot = static_cast<const T*>(p.row_dot);
    const T* scale = static_cast<const T*>(p.row_scale);
    T* dz = static_cast<T*>(p.dz);
    // cache lines of columns, so that a row is read in pieces that are whole
    constexpr int kVectors = 4;
    const int64_t width = kVectors * L, units = p.end - p.begin;
    parallel_for(launch, (units + width - 1) / width, [&](int64_t first, int64_t last) {
        for (int64_t block = first; block < last; ++block) {
            const int64_t at = p.begin + block * width;
            Vec<T> sums[kVectors] = {}, centre[kVectors];
            int64_t n[kVectors];
            for (int c = 0; c < kVectors; ++c) {
                n[c] = least(L, p.end - at - c * L);
                centre[c] = n[c] > 0 ? load_n(bias + at + c * L, n[c]) : Vec<T>{};
            }
            for (int64_t b = 0; b < p.rows; ++b)
                for (int c = 0; c < kVectors; ++c) {
                    if (n[c] <= 0) break;
                    const Vec<T> d = load_n(x + b * p.n + at + c * L, n[c]) - centre[c];
                    sums[c] += d * d * contrast[b];
                }
            for (int c = 0; c < kVectors; ++c) {
                const int64_t i = at + c * L;
                if (n[c] <= 0) break;
                store_n(dz + i, load_n(scale + i, n[c]) * (sums[c] * T(0.5) - load_n(dot + i, n[c])), n[c]);
            }
        }
    });
}

// How many of n numbers are before number i: smaller ones, and equal ones of a lower index.
template <class T>
T rank_in_row(const T* x, int64_t n, int64_t i) {
    constexpr int L = kLanes<T>;
    const Vec<T> own = splat(x[i]), one = splat(T(1)), none{};
    Vec<T> count{};
    int64_t j = 0;
    for (; j + L <= i; j += L) count += load(x + j) <= own ? one : none;
    if (j < n) {  // the vector that i is in
        const Vec<T> here = load_n(x + j, n - j), before = first_n<T>(one, least(L, i - j));
        count += first_n<T>(here < own ? one : here == own ? before : none, n - j);
        j += L;
    }
    for (; j + L <= n; j += L) count += load(x + j) < own ? one : none;
    if (j < n) count += first_n<T>(load_n(x + j, n - j) < own ? one : none, n - j);
    return sum<T>(count);
}

template <class T>
void selective(const SelectiveTargets& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    T *activities = static_cast<T*>(p.activities), *ranks = static_cast<T*>(p.ranks);
    const T exponent = T(1 / p.target - 1), cost = T(p.cost);
    parallel_for(launch, p.rows, [&](int64_t first, int64_t last) {
        for (int64_t b = first; b < last; ++b)
            for (int64_t j = 0; j < p.n; ++j) ranks[b * p.n + j] = rank_in_row<T>(activities + b * p.n, p.n, j);
    });
    parallel_for(launch, (p.n + L - 1) / L, [&](int64_t first, int64_t last) {
        T* column = static_cast<T*>(launch.scratch(kColumnScratch, size_t(p.rows * L) * sizeof(T)));
        const Vec<T> one = splat(T(1)), none{};
        for (int64_t block = first; block < last; ++block) {
            const int64_t at = block * L, n = least(L, p.n - at);
            for (int64_t b = 0; b < p.rows; ++b) store(column + b * L, load_n(ranks + b * p.n + at, n));
            for (int64_t b = 0; b < p.rows; ++b) {
                const Vec<T> own = load(column + b * L);
                Vec<T> count{};
                int64_t other = 0;
                for (; other < b; ++other) count += load(column + other * L) <= own ? one : none;
                for (; other < p.rows; ++other) count += load(column + other * L) < own ? one : none;
                const Vec<T> target = exp(log((count + T(0.5)) / T(p.rows)) * exponent);
                T* h = activities + b * p.n + at;
                store_n(h, load_n(h, n) * (T(1) - cost) + target * cost, n);
            }
        }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(VarianceGradient, variance_gradient)
USF_KERNEL_BY_DTYPE(SelectiveTargets, selective)

}  // namespace unsupfast
