// Plain loops: the meaning of the vector family.
#include "kernels/vector/op.h"

#include "philox.h"

namespace unsupfast {

USF_KERNEL(ref, Uniforms) {
    (void)launch;
    for (int64_t i = 0; i < p.rows; ++i)
        for (int64_t j = 0; j < p.cols; ++j)
            p.out[i * p.cols + j] = philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(i),
                                                   step_of(p.draw), p.draw.stream);
}

USF_KERNEL(ref, PeakLoop) {
    parallel_for(launch, p.threads, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            double x = 0.5;
            for (int64_t i = 0; i < 16 * p.iterations; ++i) {
                x = x * 0.5 + 0.5;
                asm volatile("" : "+m"(x));
            }
        }
    });
    *p.flops = 2. * 16. * double(p.iterations) * p.threads;
}

}  // namespace unsupfast
