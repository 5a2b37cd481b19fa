// What chains (kernels/chain) need of Hopper beside hopper.h: stores to the memory of a neighbour, and fast functions.
#pragma once
#include "cuda/hopper.h"

namespace unsupfast::cuda {

// All threads of the cluster meet; what they wrote before is seen after.
__device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// The same address in the shared memory of another block.
__device__ __forceinline__ uint32_t of_block(uint32_t address, int rank) {
    uint32_t there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}

// Until the phase of this parity is over.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
    uint32_t over;
    do {
        asm volatile(
            "{\n.reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p;\n}"
            : "=r"(over)
            : "r"(barrier), "r"(parity)
            : "memory");
    } while (!over);
}

// 8 bytes to a block's shared memory, counted by a barrier there
__device__ __forceinline__ void store_async(uint32_t to, uint32_t first, uint32_t second, uint32_t barrier) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(to),
                 "r"(first), "r"(second), "r"(barrier)
                 : "memory");
}
__device__ __forceinline__ double load_of_block(uint32_t address) {
    double x;
    asm volatile("ld.shared::cluster.f64 %0, [%1];" : "=d"(x) : "r"(address) : "memory");
    return x;
}

// 2^x and 1 / x, correct to a few units in the last place, without care for denormals
__device__ __forceinline__ float approximate_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float approximate_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// A parameter read once, and from then on in a register.
template <class T>
__device__ __forceinline__ T kept(T x) {
    asm volatile("" : "+r"(x));
    return x;
}

}  // namespace unsupfast::cuda
