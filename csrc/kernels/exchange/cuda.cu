// A warp a pair of chains. The counts are integers, so that their order does not matter.
#include "cuda/device.h"
#include "kernels/exchange/parts.h"

namespace unsupfast {
namespace cuda {
namespace {

constexpr int kWarps = 4;

__global__ void __launch_bounds__(kWarps * 32) exchange_kernel(const __grid_constant__ ExchangeStates p) {
    const int64_t item = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
    const int64_t t = p.first + item / p.chains * 2, c = item % p.chains;
    const int lane = int(threadIdx.x) % 32;
    if (t + 1 >= p.levels) return;
    const bool accepted = exchange_accepted(p, t, c);
    if (accepted) trade_rows(p, t * p.chains + c, (t + 1) * p.chains + c, lane, 32);
    if (lane > 0) return;
    auto* tally = reinterpret_cast<unsigned long long*>(p.tally) + 2 * t;
    if (accepted) atomicAdd(tally, 1ull);
    atomicAdd(tally + 1, 1ull);
}

}  // namespace
}  // namespace cuda

USF_KERNEL(cuda, ExchangeStates) {
    const int64_t pairs = (p.levels - p.first) / 2;
    cuda::start(launch, (pairs * p.chains + cuda::kWarps - 1) / cuda::kWarps, cuda::kWarps * 32, cuda::exchange_kernel,
                p);
}

}  // namespace unsupfast
