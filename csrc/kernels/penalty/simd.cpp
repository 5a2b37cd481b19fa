// Penalties, value and gradients in one pass.
#include "kernels/penalty/op.h"

#include "kernels/dense/act_simd.h"
#include "kernels/gemm/engine.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
void column_norms(const ColumnNorms& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    parallel_for(launch, panels(p.n), [&](int64_t begin, int64_t end) {
        for (int64_t panel = begin; panel < end; ++panel) {
            Vec<T> sums[kPanel / L] = {};
            const T* w = static_cast<const T*>(p.w) + panel * p.k * kPanel;
            for (int64_t i = 0; i < p.k; ++i, w += kPanel)
                for (int c = 0; c < kPanel / L; ++c) {
                    const Vec<T> x = load(w + c * L);
                    sums[c] += x * x;
                }
            for (int64_t j = panel * kPanel, c = 0; j < least(p.n, (panel + 1) * kPanel); j += L, ++c)
                store_n(static_cast<T*>(p.out) + j, sums[c], least(p.n - j, L));
        }
    });
}

// One item is a panel of columns and all of its rows; the values of the rows are added up over panels in order.
template <class T>
void contraction(const Contraction& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T *h = static_cast<const T*>(p.h), *norms = static_cast<const T*>(p.norms), scale = T(p.scale);
    T *by_h = static_cast<T*>(p.by_h), *by_norms = static_cast<T*>(p.by_norms), *value = static_cast<T*>(p.value);
    T* partial = static_cast<T*>(launch.scratch(kPartialScratch, size_t(panels(p.n) * p.m) * sizeof(T)));
    with_activation(p.act, [&]<Activation kAct>() {
        parallel_for(launch, panels(p.n), [&](int64_t begin, int64_t end) {
            for (int64_t panel = begin; panel < end; ++panel) {
                const int64_t j0 = panel * kPanel, j1 = least(p.n, j0 + kPanel);
                Vec<T> sums[kPanel / L] = {};
                for (int64_t i = 0; i < p.m; ++i) {
                    Vec<T> row{};
                    for (int64_t j = j0; j < j1; j += L) {
                        const int64_t n = least(j1 - j, L);
                        const Vec<T> y = load_n(h + i * p.n + j, n), c = load_n(norms + j, n);
                        const Vec<T> a = slope<T, kAct>(y), square = first_n<T>(a * a, n);
                        row += square * c;
                        sums[(j - j0) / L] += square;
                        store_n(by_h + i * p.n + j, a * curvature<T, kAct>(y) * c * (2 * scale), n);
                    }
                    partial[panel * p.m + i] = sum<T>(row);
                }
                for (int64_t j = j0; j < j1; j += L)
                    store_n(by_norms + j, sums[(j - j0) / L] * scale, least(j1 - j, L));
            }
        });
    });
    for (int64_t i = 0; i < p.m; ++i) {
        T total = 0;
        for (int64_t panel = 0; panel < panels(p.n); ++panel) total += partial[panel * p.m + i];
        value[i] = total;
    }
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(ColumnNorms, column_norms)
USF_KERNEL_BY_DTYPE(Contraction, contraction)

}  // namespace unsupfast
