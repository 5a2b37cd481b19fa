// Plain loops: the meaning of the vector family.
#include "kernels/vector/op.h"

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

template <class T>
void vector_math(const VectorMath& p) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    for (int64_t i = 0; i < p.n; ++i) switch (p.f) {
            case Function::exp:
                y[i] = std::exp(x[i]);
                break;
            case Function::log:
                y[i] = std::log(x[i]);
                break;
            case Function::sigmoid:
                y[i] = sigmoid(x[i]);
                break;
            case Function::softplus:
                y[i] = softplus(x[i]);
                break;
            case Function::probit:
                y[i] = probit(x[i]);
                break;
            case Function::tanh:
                y[i] = std::tanh(x[i]);
                break;
        }
}

}  // namespace

USF_REF_BY_DTYPE(VectorMath, vector_math)

USF_KERNEL(ref, Uniforms) {
    (void)launch;
    for (int64_t i = 0; i < p.rows; ++i)
        for (int64_t j = 0; j < p.cols; ++j)
            p.out[i * p.cols + j] =
                philox_uniform(p.draw.seed, uint32_t(j), p.draw.first_row + uint32_t(i), p.draw.step, p.draw.stream);
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
