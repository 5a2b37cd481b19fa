// Dropout in one pass.
#include "kernels/dropout/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
void dropout(const Dropout& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T rate = T(float(p.rate)), scale = T(1 / (1 - p.rate));
    parallel_for(launch, p.m, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j0 = 0; j0 < p.n; j0 += 32) {
                alignas(64) float u[2][32];
                uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(i), 1,
                             uint32_t(j0), u);
                const T* x = static_cast<const T*>(p.x) + i * p.n;
                T* y = static_cast<T*>(p.y) + i * p.n;
                for (int64_t j = j0; j < least(j0 + 32, p.n); j += L) {
                    const int64_t n = least(j0 + 32, p.n) - j;
                    const Vec<T> kept = load_n(x + j, n) * scale;
                    store_n(y + j, Vec<T>(from_floats<T>(u[0] + j - j0) < rate ? Vec<T>{} : kept), n);
                }
            }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Dropout, dropout)

}  // namespace unsupfast
