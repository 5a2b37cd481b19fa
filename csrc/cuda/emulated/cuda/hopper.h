// cuda/hopper.h on the emulated GPU.
#pragma once
#include <cstdint>
#include <cstring>

#include "cuda/descriptors.h"
#include "cuda/emulated/barrier.h"
#include "cuda/emulated/machine.h"
#include "cuda/emulated/products.h"
#include "cuda_runtime.h"

namespace unsupfast::cuda {

inline uint32_t shared_address(const void* p) { return emulated::shared_address(p); }
inline unsigned char* dynamic_shared() { return emulated::current->block->shared + emulated::kReserved; }

inline uint32_t cluster_rank() { return uint32_t(emulated::current->block->rank); }
inline uint32_t cluster_blocks() { return uint32_t(emulated::grid.cluster); }
inline void cluster_barrier() {
    emulated::Cluster& cluster = *emulated::current->block->cluster;
    emulated::synchronise(cluster.meeting, int(emulated::grid.cluster * emulated::grid.threads.x), "barrier.cluster");
}

// Grids come one after the other.
inline void let_next_grid_start() {}
inline void wait_for_grid() {}

inline void barrier_init(uint32_t barrier, int arrivals) { emulated::Barrier::at(barrier)->init(arrivals); }
inline void barrier_init(uint64_t* barrier, int arrivals) { barrier_init(shared_address(barrier), arrivals); }
inline void barrier_init_fence() {}
inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
    emulated::Barrier::at(shared_address(barrier))->wait(parity);
}
inline void barrier_expect(uint32_t barrier, uint32_t bytes) { emulated::Barrier::at(barrier)->arrive(bytes); }
inline void barrier_expect(uint64_t* barrier, uint32_t bytes) { barrier_expect(shared_address(barrier), bytes); }
inline void barrier_arrive(uint64_t* barrier) { emulated::Barrier::at(shared_address(barrier))->arrive(0); }
inline void barrier_arrive(uint64_t* barrier, uint32_t rank) {
    emulated::Barrier::at(emulated::of_block(shared_address(barrier), rank))->arrive(0);
}
inline void barrier_arrive_with_writes(uint64_t* barrier, uint32_t rank) { barrier_arrive(barrier, rank); }
inline void barrier_wait_for_writes(uint64_t* barrier, uint32_t parity) { barrier_wait(barrier, parity); }

inline float load_from(const float* p, uint32_t rank) {
    return *static_cast<float*>(emulated::at_address(emulated::of_block(shared_address(p), rank), 4, 4));
}

inline void bulk_copy(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
    if (bytes % 16 || reinterpret_cast<uintptr_t>(from) % 16)
        emulated::fail("a bulk copy is not of multiples of 16 bytes");
    emulated::later(
        [target = emulated::at_address(to, bytes, 16), from, bytes, arrived = emulated::Barrier::at(barrier)] {
            std::memcpy(target, from, bytes);
            arrived->complete(bytes);
        });
}
inline void bulk_copy(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
    bulk_copy(shared_address(to), from, bytes, shared_address(barrier));
}
inline void bulk_copy(void* to, const void* from, uint32_t bytes, uint64_t* barrier, uint16_t blocks) {
    for (uint32_t rank = 0; rank < 16; ++rank)
        if (blocks >> rank & 1)
            bulk_copy(emulated::of_block(shared_address(to), rank), from, bytes,
                      emulated::of_block(shared_address(barrier), rank));
}
inline void fence_for_copies() {}

template <int kCount>
inline void take_registers() {}
template <int kCount>
inline void give_registers() {}

template <int kSelector>
inline uint32_t permute_bytes(uint32_t low, uint32_t high) {
    return __byte_perm(low, high, kSelector);
}

inline void wgmma_fence() {}
inline void wgmma_commit() { emulated::commit_products(); }
template <int kLeft>
inline void wgmma_wait() {
    emulated::finish_products(kLeft);
}

template <int kCols>
struct Wgmma {
    static void run(float (&d)[kCols / 2], uint64_t a, uint64_t b, bool fresh) {
        emulated::current->products.push_back({kCols, d, a, b, {}, false, fresh, true});
    }
    static void run(float (&d)[kCols / 2], const uint32_t (&a)[4], uint64_t b, bool fresh) {
        emulated::current->products.push_back({kCols, d, 0, b, {a[0], a[1], a[2], a[3]}, true, fresh, true});
    }
};

}  // namespace unsupfast::cuda
