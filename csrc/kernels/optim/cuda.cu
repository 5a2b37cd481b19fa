// A step of the optimiser on the GPU, one launch a tensor.
#include "cuda/device.h"
#include "kernels/optim/step.cuh"

namespace unsupfast {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256) step_kernel(const __grid_constant__ Slice slice,
                                                   const __grid_constant__ StepNumbers<T> numbers, int32_t* nonfinite) {
    const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (i >= slice.n) return;
    if (!isfinite(step_one(numbers, slice, i, static_cast<const T*>(slice.g)[i]))) atomicOr(nonfinite, 1);
}

template <class T>
void optimise(const Optimise& o, const Launch& launch) {
    for (int64_t s = 0; s < o.count; ++s)
        start(launch, (o.slices[s].n + 255) / 256, 256, step_kernel<T>, o.slices[s], StepNumbers<T>(o), o.nonfinite);
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Optimise, cuda::optimise)

}  // namespace unsupfast
