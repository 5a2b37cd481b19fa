// Mini-batches on the GPU: a block a row, CSR rows spread out over zeros first.
#include "kernels/batch/op.h"

#include "cuda/device.h"
#include "elementary.h"

namespace unsupfast {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256) take_rows_kernel(const __grid_constant__ TakeRows p) {
    const int64_t i = blockIdx.x, row = p.index ? p.index[i] : i;
    T* clean = p.clean ? static_cast<T*>(p.clean) + i * p.n : nullptr;
    T* corrupted = p.corrupted ? static_cast<T*>(p.corrupted) + i * p.n : nullptr;
    const T* from = static_cast<const T*>(p.x.data);
    if (p.x.indptr) {
        T* to = clean ? clean : corrupted;
        for (int64_t j = threadIdx.x; j < p.n; j += 256) to[j] = T(0);
        __syncthreads();
        for (int64_t e = p.x.indptr[row] + threadIdx.x; e < p.x.indptr[row + 1]; e += 256) to[p.x.indices[e]] = from[e];
        __syncthreads();
        from = to;
    } else {
        from += row * p.x.row_stride;
        struct alignas(16) Four {  // or two
            T value[16 / sizeof(T)];
        };
        constexpr int64_t kFour = sizeof(Four) / sizeof(T);
        if (p.n % kFour == 0 && p.x.row_stride % kFour == 0 && reinterpret_cast<uintptr_t>(p.x.data) % 16 == 0) {
            for (int64_t j = threadIdx.x; clean && j < p.n / kFour; j += 256)
                reinterpret_cast<Four*>(clean)[j] = reinterpret_cast<const Four*>(from)[j];
        } else {
            for (int64_t j = threadIdx.x; clean && j < p.n; j += 256) clean[j] = from[j];
        }
    }
    const T amount = T(p.amount);
    for (int64_t j = threadIdx.x; corrupted && j < p.n; j += 256) {
        const T u = T(
            philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(row), step_of(p.draw), p.draw.stream));
        T x = from[j];
        switch (p.corruption) {
            case Corruption::none:
                break;
            case Corruption::masking:
                if (u < amount) x = T(0);
                break;
            case Corruption::salt_pepper:
                if (u < amount) x = u < amount / T(2) ? T(0) : T(1);
                break;
            case Corruption::gaussian:
                x += amount * probit(u);
                break;
            case Corruption::bernoulli:
                x = u < x ? T(1) : T(0);
                break;
        }
        corrupted[j] = x;
    }
}

template <class T>
void take_rows(const TakeRows& p, const Launch& launch) {
    start(launch, p.m, 256, take_rows_kernel<T>, p);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(TakeRows, cuda::take_rows)

}  // namespace unsupfast
