// exp(field + u) is exp(field) exp(u): an exponential for every field and weight, none for their sums, unless a number
// is so large that its exponential is not finite.
#include "kernels/classes/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

enum ClassScratch : int { kWeightScratch = 3, kFieldScratch = 4 };

constexpr int64_t kFold = 32;  // factors of up to 2 between two logarithms: their product is finite

template <class T>
constexpr T kBound = T(sizeof(T) == 8 ? 700 : 87);  // of numbers whose exponentials are normal

template <class T>
const T* panel_of(const ClassWeights& u, int64_t c, int64_t j0) {
    return static_cast<const T*>(u.data) + j0 / kPanel * u.panel_stride + c * u.class_stride;
}

// A panel of numbers, 0 past its n-th.
template <class T>
struct Panel {
    static constexpr int N = kPanel / kLanes<T>;
    Vec<T> v[N];

    Panel(const T* x, int64_t n) {
        for (int i = 0; i < N; ++i) {
            const int64_t left = n - i * kLanes<T>;
            v[i] = left >= kLanes<T> ? load(x + i * kLanes<T>) : left > 0 ? load_n(x + i * kLanes<T>, left) : Vec<T>{};
        }
    }
    // Whether exponentials of all and of their negatives are normal; not of NaN.
    bool bounded() const {
        uint32_t beyond = 0;
        for (int i = 0; i < N; ++i) {
            const Vec<T> size = max<T>(v[i], -v[i]);
            beyond |= nonzero_bits<T>(size <= kBound<T> ? Vec<T>{} : splat(T(1)));
        }
        return beyond == 0;
    }
};

// Numbers in panels padded with 0, and (if all are bounded) exponentials of them and of their negatives, padded with 0.
template <class T>
struct Powers {
    T *x, *up, *down;
    bool bounded = true;

    static size_t bytes(int64_t n) { return size_t(3 * panels(n) * kPanel) * sizeof(T); }
    Powers(T* memory, int64_t n) : x(memory), up(x + panels(n) * kPanel), down(up + panels(n) * kPanel) {}
    void set(int64_t j0, const T* from, int64_t n) {
        const Panel<T> p(from, n);
        bounded = bounded && p.bounded();
        for (int i = 0; i < Panel<T>::N; ++i) {
            const int64_t at = j0 + i * kLanes<T>, left = n - i * kLanes<T>;
            store(x + at, p.v[i]);
            if (!bounded) continue;
            store(up + at, left > 0 ? first_n<T>(exp(p.v[i]), left) : Vec<T>{});
            store(down + at, left > 0 ? first_n<T>(exp(-p.v[i]), left) : Vec<T>{});
        }
    }
};

// sum_j softplus(x_j) = sum_j max(x_j, 0) + log prod_j (1 + exp(-|x_j|)), with a logarithm for every kFold factors.
template <class T>
T score(const Powers<T>& f, const Powers<T>& u, int64_t hiddens) {
    constexpr int L = kLanes<T>, N = kPanel / L;
    const bool powers = f.bounded && u.bounded;
    Vec<T> total[N] = {}, product[N];
    for (Vec<T>& x : product) x = splat(T(1));
    const auto fold = [&] {
        for (int i = 0; i < N; ++i) {
            total[i] += log(product[i]);
            product[i] = splat(T(1));
        }
    };
    int64_t since = 0;
    for (int64_t j0 = 0; j0 < hiddens; j0 += kPanel) {
        for (int i = 0; i < N; ++i) {
            const int64_t at = j0 + i * L;
            const Vec<T> x = load(f.x + at) + load(u.x + at);
            Vec<T> e;
            if (powers)
                e = min<T>(load(f.up + at) * load(u.up + at), load(f.down + at) * load(u.down + at));
            else
                e = first_n<T>(exp(x < T(0) ? x : -x), hiddens - at);
            total[i] += max<T>(x, Vec<T>{});
            product[i] += product[i] * e;
        }
        if (++since % kFold == 0) fold();
    }
    fold();
    for (int i = 1; i < N; ++i) total[0] += total[i];
    return sum<T>(total[0]);
}

template <class T>
void scores(const ClassScores& p, const Launch& launch) {
    const int64_t each = int64_t(Powers<T>::bytes(p.hiddens) / sizeof(T));
    T* weights = static_cast<T*>(launch.scratch(kWeightScratch, size_t(p.classes) * Powers<T>::bytes(p.hiddens)));
    const auto of_class = [&](int64_t c) { return Powers<T>(weights + c * each, p.hiddens); };
    bool bounded = true;  // the weights of all classes
    for (int64_t c = 0; c < p.classes; ++c) {
        Powers<T> u = of_class(c);
        for (int64_t j0 = 0; j0 < p.hiddens; j0 += kPanel) u.set(j0, panel_of<T>(p.u, c, j0), p.hiddens - j0);
        bounded = bounded && u.bounded;
    }
    parallel_for(launch, p.rows, [&](int64_t begin, int64_t end) {
        T* memory = static_cast<T*>(launch.scratch(kFieldScratch, Powers<T>::bytes(p.hiddens)));
        for (int64_t i = begin; i < end; ++i) {
            Powers<T> f(memory, p.hiddens);
            const T* field = static_cast<const T*>(p.field) + i * p.hiddens;
            for (int64_t j0 = 0; j0 < p.hiddens; j0 += kPanel) f.set(j0, field + j0, p.hiddens - j0);
            for (int64_t c = 0; c < p.classes; ++c) {
                Powers<T> u = of_class(c);
                u.bounded = bounded;
                static_cast<T*>(p.scores)[i * p.classes + c] =
                    static_cast<const T*>(p.bias)[c] + score(f, u, p.hiddens);
            }
        }
    });
}

// A panel of units for all rows and classes, so that both sums are the thread's own.
template <class T>
void activity(const ClassActivity& p, const Launch& launch) {
    constexpr int L = kLanes<T>, N = kPanel / L;
    parallel_for(launch, panels(p.hiddens), [&](int64_t begin, int64_t end) {
        const size_t size = size_t(p.classes * kPanel);
        T* sums = static_cast<T*>(launch.scratch(kWeightScratch, 3 * size * sizeof(T)));
        T *weights = sums + size, *powers = weights + size;
        for (int64_t j0 = begin * kPanel; j0 < end * kPanel; j0 += kPanel) {
            const int64_t width = least(kPanel, p.hiddens - j0);
            bool bounded = true;
            for (int64_t c = 0; c < p.classes; ++c) {
                const Panel<T> u(panel_of<T>(p.u, c, j0), width);
                bounded = bounded && u.bounded();
                for (int i = 0; i < N; ++i) {
                    const int64_t at = c * kPanel + i * L;
                    store(sums + at, Vec<T>{});
                    store(weights + at, u.v[i]);
                    store(powers + at, exp(-u.v[i]));
                }
            }
            for (int64_t row = 0; row < p.rows; ++row) {
                const T* share = static_cast<const T*>(p.share) + row * p.classes;
                const int64_t from = row * p.hiddens + j0;
                const Panel<T> x(static_cast<const T*>(p.field) + from, width);
                const bool by_powers = bounded && x.bounded();
                Vec<T> power[N], total[N] = {};
                for (int i = 0; i < N; ++i) power[i] = exp(-x.v[i]);
                for (int64_t c = 0; c < p.classes; ++c) {
                    if (share[c] == T(0)) continue;  // classes that a label excludes
                    for (int i = 0; i < N; ++i) {
                        const int64_t at = c * kPanel + i * L;
                        const Vec<T> h = by_powers ? T(1) / (power[i] * load(powers + at) + T(1))
                                                   : sigmoid(x.v[i] + load(weights + at));
                        total[i] += h * share[c];
                        store(sums + at, load(sums + at) + h * share[c]);
                    }
                }
                for (int i = 0; i < N && i * L < width; ++i) {
                    const int64_t n = least(width - i * L, L);
                    if (p.activity) store_n(static_cast<T*>(p.activity) + from + i * L, total[i], n);
                    if (p.chosen)
                        store_n(static_cast<T*>(p.chosen) + from + i * L,
                                x.v[i] + load(weights + p.choice[row] * kPanel + i * L), n);
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
