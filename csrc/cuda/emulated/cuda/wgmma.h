// cuda/wgmma.h on the emulated GPU.
#pragma once
#include "cuda/hopper.h"

namespace unsupfast::cuda {

template <int kGranules>
inline void wgmma(float (&c)[32], const uint32_t (&a)[4], uint64_t b) {
    emulated::current->products.push_back({16 * kGranules, c, 0, b, {a[0], a[1], a[2], a[3]}, true, false, false});
}

}  // namespace unsupfast::cuda
