// From an op to the kernel that runs it. CPU ops take the best instruction set that the processor has (or
// that was asked for), falling back level by level to the reference; CUDA never falls back.
#pragma once
#include <array>
#include <stdexcept>
#include <string>

#include "cuda/runtime.h"
#include "device.h"
#include "kernel.h"
#include "parallel.h"

namespace unsupfast {

template <class P>
using Kernel = void (*)(const P&, const Launch&);

// One kernel per backend, null where there is none.
template <class P>
const std::array<Kernel<P>, kBackends>& table();

#define OP(P)                                                                                  \
    template <>                                                                                \
    inline const std::array<Kernel<P>, kBackends>& table<P>() {                                \
        static const std::array<Kernel<P>, kBackends> t{P##_ref,    P##_base,       P##_avx2,  \
                                                        P##_avx512, P##_avx512bf16, P##_cuda}; \
        return t;                                                                              \
    }
#include "ops.def"
#undef OP

const char* backend_name(Backend b);
// The best CPU backend this processor can run.
Backend best_isa();
// The CPU backend in use: UNSUPFAST_ISA at first use, else best_isa(). Throws for one that cannot run here.
Backend active_isa();
void set_isa(const std::string& name);

// The memory that p points to lies on `device`. On a GPU this returns before the work is done.
template <class P>
void run(const P& p, Device device = {}) {
    if (device.is_gpu()) {
        const cuda::DeviceScope scope(device.gpu);
        if (Kernel<P> kernel = table<P>()[size_t(Backend::cuda)]) return kernel(p, cuda_launch(device.gpu));
        throw std::logic_error("an operation has no CUDA kernel");
    }
    for (int b = int(active_isa()); b >= 0; --b)
        if (Kernel<P> kernel = table<P>()[size_t(b)]) return kernel(p, cpu_launch());
    throw std::logic_error("an operation has no kernel on this processor");
}

// op name -> names of the backends that have a kernel
struct CatalogueEntry {
    const char* op;
    std::array<bool, kBackends> has;
};
const std::array<CatalogueEntry,
#define OP(P) +1
                 0
#include "ops.def"
#undef OP
                 >&
catalogue();

}  // namespace unsupfast
