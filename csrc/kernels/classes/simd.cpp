// A panel of hidden units at a time: its vectors are chains that don't wait for each other.
#include "kernels/classes/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

enum ClassScratch : int { kSumScratch = 3 };

constexpr int64_t kFold = 32;  // factors of up to 2 between two logarithms: their product is finite

template <class T>
const T* panel_of(const ClassWeights& u, int64_t c, int64_t j0) {
    return static_cast<const T*>(u.data) + j0 / kPanel * u.panel_stride + c * u.class_stride;
}

// sum_j softplus(x_j) = sum_j max(x_j, 0) + log prod_j (1 + exp(-|x_j|)), with a logarithm for every kFold factors.
template <class T>
T score(const ClassScores& p, const T* field, int64_t c) {
    constexpr int L = kLanes<T>, N = kPanel / L;
    Vec<T> total[N] = {}, product[N];
    for (Vec<T>& x : product) x = splat(T(1));
    const auto fold = [&] {
        for (int v = 0; v < N; ++v) {
            total[v] += log(product[v]);
            product[v] = splat(T(1));
        }
    };
    int64_t folded = 0;
    for (int64_t j0 = 0; j0 < p.hiddens; j0 += kPanel) {
        const T* u = panel_of<T>(p.u, c, j0);
        if (p.hiddens - j0 >= kPanel) {
            for (int v = 0; v < N; ++v) {
                const Vec<T> x = load(field + j0 + v * L) + load(u + v * L), e = exp(x < T(0) ? x : -x);
                total[v] += max<T>(x, Vec<T>{});
                product[v] += product[v] * e;
            }
        } else {
            for (int v = 0; v < N; ++v) {
                const int64_t n = p.hiddens - j0 - v * L;
                if (n <= 0) break;
                const Vec<T> x = load_n(field + j0 + v * L, n) + load_n(u + v * L, n);
                total[v] += max<T>(x, Vec<T>{});
                product[v] += product[v] * first_n<T>(exp(x < T(0) ? x : -x), n);
            }
        }
        if (++folded % kFold == 0) fold();
    }
    fold();
    for (int v = 1; v < N; ++v) total[0] += total[v];
    return sum<T>(total[0]);
}

template <class T>
void scores(const ClassScores& p, const Launch& launch) {
    parallel_for(launch, p.rows, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t c = 0; c < p.classes; ++c)
                static_cast<T*>(p.scores)[i * p.classes + c] =
                    static_cast<const T*>(p.bias)[c] + score(p, static_cast<const T*>(p.field) + i * p.hiddens, c);
    });
}

// A panel of units for all rows and classes, so that both sums are the thread's own.
template <class T>
void activity(const ClassActivity& p, const Launch& launch) {
    constexpr int L = kLanes<T>, N = kPanel / L;
    parallel_for(launch, panels(p.hiddens), [&](int64_t begin, int64_t end) {
        T* sums = static_cast<T*>(launch.scratch(kSumScratch, size_t(p.classes * kPanel) * sizeof(T)));
        for (int64_t j0 = begin * kPanel; j0 < end * kPanel; j0 += kPanel) {
            const int64_t width = least(kPanel, p.hiddens - j0);
            for (int64_t e = 0; e < p.classes * kPanel; e += L) store(sums + e, Vec<T>{});
            for (int64_t i = 0; i < p.rows; ++i) {
                const T* share = static_cast<const T*>(p.share) + i * p.classes;
                const int64_t at = i * p.hiddens + j0;
                Vec<T> x[N], activity[N] = {};
                for (int v = 0; v < N; ++v) {
                    const int64_t n = width - v * L;
                    x[v] = n >= L  ? load(static_cast<const T*>(p.field) + at + v * L)
                           : n > 0 ? load_n(static_cast<const T*>(p.field) + at + v * L, n)
                                   : Vec<T>{};
                }
                for (int64_t c = 0; c < p.classes; ++c) {
                    if (share[c] == T(0)) continue;  // classes that a label excludes
                    const T* u = panel_of<T>(p.u, c, j0);
                    for (int v = 0; v < N; ++v) {
                        const int64_t n = width - v * L;
                        const Vec<T> own = n >= L ? load(u + v * L) : n > 0 ? load_n(u + v * L, n) : Vec<T>{};
                        const Vec<T> part = sigmoid(x[v] + own) * share[c];
                        activity[v] += part;
                        store(sums + c * kPanel + v * L, load(sums + c * kPanel + v * L) + part);
                    }
                }
                for (int v = 0; v < N && v * L < width; ++v) {
                    const int64_t n = width - v * L;
                    if (p.activity) store_n(static_cast<T*>(p.activity) + at + v * L, activity[v], least(n, L));
                    if (p.chosen)
                        store_n(static_cast<T*>(p.chosen) + at + v * L,
                                x[v] + load_n(panel_of<T>(p.u, p.choice[i], j0) + v * L, least(n, L)), least(n, L));
                }
            }
            if (!p.by_class) continue;
            for (int64_t c = 0; c < p.classes; ++c)
                for (int64_t j = 0; j < width; ++j)
                    static_cast<T*>(p.by_class)[c * p.hiddens + j0 + j] = sums[c * kPanel + j];
        }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(ClassScores, scores)
USF_KERNEL_BY_DTYPE(ClassActivity, activity)

}  // namespace unsupfast
