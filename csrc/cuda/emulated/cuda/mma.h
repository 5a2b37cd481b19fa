// cuda/mma.h on the emulated GPU.
#pragma once
#include <cstdint>

#include "cuda/emulated/machine.h"
#include "kernels/gemm/ref.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

inline uint32_t pack_bf16(float low, float high) { return ref::to_bf16(low) | uint32_t(ref::to_bf16(high)) << 16; }

// The last lane that comes multiplies for the whole warp: c (16 x 8) += a b, of 8 words along k;
// product(sum, x, y) adds what a row and a column of them make.
template <class Sum, class Product>
USF_UNSEEN inline void multiply_fragments(Sum (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* what,
                                          const Product& product) {
    const emulated::Thread& thread = *emulated::current;
    emulated::Warp& warp = thread.warp();
    auto& given = warp.given;
    given[thread.lane()][0] = c;
    given[thread.lane()][1] = const_cast<uint32_t*>(a);
    given[thread.lane()][2] = const_cast<uint32_t*>(b);
    emulated::meet<false>(warp.meeting, 32, what, [&]() USF_UNSEEN {
        uint32_t left[16][8], right[8][8];  // [row][word], [column][word]
        for (int lane = 0; lane < 32; ++lane)
            for (int r = 0; r < 4; ++r) {
                left[frag_row(lane, r % 2)][frag_word(lane, r / 2)] = static_cast<uint32_t*>(given[lane][1])[r];
                if (r < 2) right[lane / 4][frag_word(lane, r)] = static_cast<uint32_t*>(given[lane][2])[r];
            }
        for (int lane = 0; lane < 32; ++lane)
            for (int r = 0; r < 4; ++r) {
                const uint32_t *x = left[frag_row(lane, r / 2)], *y = right[frag_column(lane, r % 2)];
                Sum& sum = static_cast<Sum*>(given[lane][0])[r];
                sum = product(sum, x, y);
            }
    });
}

inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiply_fragments(c, a, b, "mma of bf16", [](float sum, const uint32_t* x, const uint32_t* y) USF_UNSEEN {
        double exact = sum;
        for (int w = 0; w < 8; ++w)
            for (int i = 0; i < 32; i += 16)
                exact += double(ref::from_bf16(uint16_t(x[w] >> i))) * ref::from_bf16(uint16_t(y[w] >> i));
        return float(exact);
    });
}

template <bool kSigned>
inline void mma_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    constexpr const char* kWhat = kSigned ? "mma of signed bytes" : "mma of bytes";
    multiply_fragments(c, a, b, kWhat, [](int32_t sum, const uint32_t* x, const uint32_t* y) USF_UNSEEN {
        for (int w = 0; w < 8; ++w)
            for (int i = 0; i < 32; i += 8) {
                const int32_t weight = int32_t(y[w] >> i & 255u);
                sum += int32_t(x[w] >> i & 255u) * (kSigned ? int8_t(weight) : weight);
            }
        return sum;
    });
}

}  // namespace unsupfast::cuda
