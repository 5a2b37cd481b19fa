// A step of the optimiser on the GPU, many tensors a launch.
#include "cuda/device.h"
#include "kernels/optim/step.cuh"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kSlices = 32;  // a launch: what fits among a kernel's arguments

struct Slices {
    Slice slice[kSlices];
    int64_t first_block[kSlices + 1];
};

template <class T>
__global__ void __launch_bounds__(256) step_kernel(const __grid_constant__ Slices all,
                                                   const __grid_constant__ StepNumbers<T> numbers, int32_t* nonfinite) {
    int s = 0;
    while (int64_t(blockIdx.x) >= all.first_block[s + 1]) ++s;
    const Slice& slice = all.slice[s];
    const int64_t i = (int64_t(blockIdx.x) - all.first_block[s]) * 256 + threadIdx.x;
    if (i >= slice.n) return;
    Stepped<T> element(slice, i);
    element.step(numbers.now(), T(slice.decay), static_cast<const T*>(slice.g)[i]);
    element.store(slice, i);
    if (!isfinite(element.p)) atomicOr(nonfinite, 1);
}

template <class T>
void optimise(const Optimise& o, const Launch& launch) {
    for (int64_t first = 0; first < o.count; first += kSlices) {
        Slices all{};
        const int64_t count = o.count - first < kSlices ? o.count - first : kSlices;
        for (int64_t s = 0; s < count; ++s) {
            all.slice[s] = o.slices[first + s];
            all.first_block[s + 1] = all.first_block[s] + (all.slice[s].n + 255) / 256;
        }
        start(launch, all.first_block[count], 256, step_kernel<T>, all, StepNumbers<T>(o), o.nonfinite);
    }
}

}  // namespace
}  // namespace cuda

USF_CUDA_KERNEL_BY_DTYPE(Optimise, cuda::optimise)

}  // namespace unsupfast
