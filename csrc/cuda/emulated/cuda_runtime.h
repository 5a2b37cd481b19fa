// CUDA C++ for a C++ compiler: the words and functions of device code that the project uses, on the emulated GPU.
#pragma once
#include <math.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/emulated/machine.h"
#include "cuda_runtime_api.h"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // blocks that have such memory run one after the other
#define __CUDACC__ 1
#define __CUDA_ARCH_FEAT_SM90_ALL 1
#define threadIdx (::unsupfast::emulated::current->index)
#define blockIdx (::unsupfast::emulated::current->block->index)
inline const auto& gridDim = unsupfast::emulated::grid.blocks;
inline const auto& blockDim = unsupfast::emulated::grid.threads;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <class T, class U>
constexpr auto min(T a, U b) {
    using C = std::common_type_t<T, U>;
    return C(b) < C(a) ? C(b) : C(a);
}
template <class T, class U>
constexpr auto max(T a, U b) {
    using C = std::common_type_t<T, U>;
    return C(a) < C(b) ? C(b) : C(a);
}
using std::isfinite;

// ---------------------------------------------------------------- numbers

inline float __uint_as_float(uint32_t x) {
    float y;
    std::memcpy(&y, &x, 4);
    return y;
}
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fmul_rn(float a, float b) {
    const volatile float product = a * b;  // never a part of a multiply-add
    return product;
}
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
    const uint64_t bytes = uint64_t(high) << 32 | low;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t select = selector >> 4 * i;
        uint32_t byte = uint32_t(bytes >> 8 * (select & 7u)) & 255u;
        if (select & 8u) byte = byte >> 7 ? 255u : 0u;
        result |= byte << 8 * i;
    }
    return result;
}

// ---------------------------------------------------------------- threads

inline void __trap() { unsupfast::emulated::fail("__trap()"); }

inline void __syncthreads() {
    auto& block = *unsupfast::emulated::current->block;
    unsupfast::emulated::synchronise(block.meeting, block.live, "__syncthreads");
}
inline void __syncwarp() {
    unsupfast::emulated::synchronise(unsupfast::emulated::current->warp().meeting, 32, "__syncwarp");
}

namespace unsupfast::emulated {

inline void require_whole(unsigned mask) {
    if (mask != 0xffffffffu) fail("only whole warps exchange values here");
}

// Shows x to the other lanes; what from() makes of what they showed. Does not order memory.
template <class T, class F>
USF_UNSEEN auto exchange(unsigned mask, T x, const char* what, F&& from) {
    require_whole(mask);
    const Thread& thread = *current;
    Warp& warp = thread.warp();
    auto& shown = warp.shown[warp.meeting.round % 2];
    std::memcpy(&shown[thread.lane()], &x, sizeof(T));
    meet<false>(warp.meeting, 32, what, [] {});
    return from(shown, thread.lane());
}
template <class T>
USF_UNSEEN T value_of(const uint64_t& shown) {
    T x;
    std::memcpy(&x, &shown, sizeof(T));
    return x;
}

}  // namespace unsupfast::emulated

template <class T>
T __shfl_xor_sync(unsigned mask, T x, int distance) {
    return unsupfast::emulated::exchange(mask, x, "__shfl_xor_sync", [=](const uint64_t* shown, int lane) USF_UNSEEN {
        return unsupfast::emulated::value_of<T>(shown[lane ^ distance]);
    });
}
template <class T>
T __shfl_sync(unsigned mask, T x, int source, int width = 32) {
    return unsupfast::emulated::exchange(mask, x, "__shfl_sync", [=](const uint64_t* shown, int lane) USF_UNSEEN {
        return unsupfast::emulated::value_of<T>(shown[lane / width * width + source % width]);
    });
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, int distance) {
    return unsupfast::emulated::exchange(mask, x, "__shfl_up_sync", [=](const uint64_t* shown, int lane) USF_UNSEEN {
        return unsupfast::emulated::value_of<T>(shown[lane < distance ? lane : lane - distance]);
    });
}
USF_UNSEEN inline unsigned __ballot_sync(unsigned mask, int x) {
    unsupfast::emulated::require_whole(mask);
    const unsupfast::emulated::Thread& thread = *unsupfast::emulated::current;
    unsupfast::emulated::Warp& warp = thread.warp();
    uint64_t& votes = warp.shown[warp.meeting.round % 2][0];
    if (warp.meeting.here == 0) votes = 0;
    votes |= uint64_t(x != 0) << thread.lane();
    unsupfast::emulated::meet<false>(warp.meeting, 32, "__ballot_sync", [] {});
    return unsigned(votes);
}
inline int __any_sync(unsigned mask, int x) { return __ballot_sync(mask, x) != 0; }

// one thread runs at a time
template <class T, class U>
USF_UNSEEN T atomicAdd(T* p, U x) {
    const T before = *p;
    *p += T(x);
    return before;
}
template <class T, class U>
USF_UNSEEN T atomicOr(T* p, U x) {
    const T before = *p;
    *p |= T(x);
    return before;
}
