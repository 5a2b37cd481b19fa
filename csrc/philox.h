// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), for host and
// device. A draw is a function of what it is for, not of the thread, tile or device that makes it:
//   key     = the 64-bit seed
//   counter = (block, row, step, stream); block and word name the unit:
//             block = unit / 32 * 8 + unit % 8,  word = unit % 32 / 8
// so that eight neighbouring blocks give 32 neighbouring units in vector order.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define USF_HD __host__ __device__ __forceinline__
#else
#define USF_HD inline
#endif

namespace unsupfast {

struct Philox4 {
    uint32_t word[4];
};

USF_HD Philox4 philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
        const uint32_t n0 = uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
        c1 = uint32_t(p1);
        c3 = uint32_t(p0);
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The top 24 bits as a float in [0, 1): every value is exact, 1 is never reached.
USF_HD float uniform_from_bits(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }

USF_HD float philox_uniform(uint64_t seed, uint32_t unit, uint32_t row, uint32_t step, uint32_t stream) {
    const Philox4 r = philox(seed, unit / 32 * 8 + unit % 8, row, step, stream);
    return uniform_from_bits(r.word[unit % 32 / 8]);
}

// The step of a Draw (kernels/rbm/op.h) whose clock may lie in memory, for work that is recorded once and done often.
template <class D>
USF_HD uint32_t step_of(const D& draw) {
    return draw.clock ? draw.step + *draw.clock : draw.step;
}

}  // namespace unsupfast
