// Mini-batches gathered and corrupted in one pass.
#include "kernels/batch/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

template <class T>
Vec<T> corrupt(Corruption how, Vec<T> x, Vec<T> u, T amount) {
    switch (how) {
        case Corruption::masking:
            return u < amount ? Vec<T>{} : x;
        case Corruption::salt_pepper:
            return u < amount ? (u < amount / 2 ? Vec<T>{} : splat(T(1))) : x;
        case Corruption::gaussian:
            return x + probit(u) * amount;
        case Corruption::bernoulli:
            return u < x ? splat(T(1)) : Vec<T>{};
        case Corruption::none:
            break;
    }
    return x;
}

template <class T>
void take_rows(const TakeRows& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T amount = T(p.amount);
    parallel_for(launch, p.m, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t row = p.index ? p.index[i] : i;
            T* clean = p.clean ? static_cast<T*>(p.clean) + i * p.n : nullptr;
            T* corrupted = p.corrupted ? static_cast<T*>(p.corrupted) + i * p.n : nullptr;
            const T* from = static_cast<const T*>(p.x.data);
            if (p.x.indptr) {  // spread out first, in whichever of the two is there
                T* to = clean ? clean : corrupted;
                std::memset(to, 0, size_t(p.n) * sizeof(T));
                for (int64_t e = p.x.indptr[row]; e < p.x.indptr[row + 1]; ++e) to[p.x.indices[e]] = from[e];
                from = to;
            } else {
                from += row * p.x.row_stride;
                if (clean) std::memcpy(clean, from, size_t(p.n) * sizeof(T));
            }
            if (!corrupted) continue;
            for (int64_t j0 = 0; j0 < p.n; j0 += 32) {
                alignas(64) float u[2][32];
                uniform_tile(p.draw.seed, step_of(p.draw), p.draw.stream, p.draw.first_row + uint32_t(row), 1,
                             uint32_t(j0), u);
                const int64_t stop = least(j0 + 32, p.n);
                for (int64_t j = j0; j < stop; j += L) {
                    const int64_t n = least(stop - j, L);
                    store_n(corrupted + j,
                            corrupt<T>(p.corruption, load_n(from + j, n), from_floats<T>(u[0] + j - j0), amount), n);
                }
            }
        }
    });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(TakeRows, take_rows)

}  // namespace unsupfast
