// cuda/cluster.h on the emulated GPU.
#pragma once
#include "cuda/hopper.h"

namespace unsupfast::cuda {

inline void cluster_sync() { cluster_barrier(); }
inline uint32_t of_block(uint32_t address, int rank) { return emulated::of_block(address, uint32_t(rank)); }
inline void barrier_wait(uint32_t barrier, uint32_t parity) { emulated::Barrier::at(barrier)->wait(parity); }
inline void store_async(uint32_t to, uint32_t first, uint32_t second, uint32_t barrier) {
    emulated::later([target = static_cast<uint32_t*>(emulated::at_address(to, 8, 8)), first, second,
                     arrived = emulated::Barrier::at(barrier)] {
        target[0] = first;
        target[1] = second;
        arrived->complete(8);
    });
}
inline double load_of_block(uint32_t address) { return *static_cast<double*>(emulated::at_address(address, 8, 8)); }

inline float approximate_exp2(float x) { return std::exp2(x); }
inline float approximate_reciprocal(float x) { return 1.f / x; }
template <class T>
inline T kept(T x) {
    return x;
}

}  // namespace unsupfast::cuda
