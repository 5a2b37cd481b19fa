// A half-step of chains on Hopper, by one warpgroup: see cuda.cu.
#pragma once
#include "cuda/wgmma.h"
#include "kernels/chain/layout.cuh"

namespace unsupfast::cuda::chains {

// Steps kFirst to kFirst + 1 of k of one source's states: the left operand of two rows. A shift and two masks make four
// states: a one is a single bit of the exponent, 2 for words 0 and 1, 2^-63 for words 2 and 3, whose weights are 2^64
// times as large.
template <int kFirst>
__device__ __forceinline__ void expand(uint32_t (&a)[kMost][4], const uint32_t (&rows)[2]) {
#pragma unroll
    for (int k = kFirst; k < kFirst + 2; ++k)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const uint32_t four = rows[i] << (13 - 2 * k);
            a[k][i] = four & 0x40004000u;
            a[k][2 + i] = four & 0x20002000u;
        }
}

// The products of kBatch sources of K or, from source `full` on, K - 1 steps of k.
template <int kPieces, int N, int K>
__device__ __forceinline__ void issue(float (&c)[kSums], const uint32_t (&a)[kBatch][kMost][4], int source, int full,
                                      uint64_t& tile) {
#pragma unroll
    for (int s = 0; s < kBatch; ++s)
#pragma unroll
        for (int k = 0; k < K; ++k) {
            if (k + 1 == K && source + s >= full) break;
            if (k == 0 || k + 1 == K) wgmma_fence();  // ptxas wants it after every branch
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                wgmma<N>(c, a[s][k], tile);
                tile += N * kTileRows;  // in units of 16 bytes
            }
        }
}

template <int kPieces>
__device__ __forceinline__ void multiply(float (&c)[kSums], int n, const uint16_t* states, int source, int most,
                                         int full, uint64_t& tile) {
    uint32_t a[kBatch][kMost][4];
#pragma unroll
    for (int s = 0; s < kBatch; ++s) {
        const uint16_t* words = states + (source + s) * (kWordBytes / 2);
        const uint32_t rows[2] = {__byte_perm(words[0], 0, 0x4140), __byte_perm(words[8 * 4], 0, 0x4140)};
        expand<0>(a[s], rows);
        if (most > 2) expand<2>(a[s], rows);
    }
    switch (n * kMost + most) {
#define USF_CASE(N, K)                                  \
    case N* kMost + K:                                  \
        issue<kPieces, N, K>(c, a, source, full, tile); \
        break;
#define USF_CASES(N) USF_CASE(N, 1) USF_CASE(N, 2) USF_CASE(N, 3) USF_CASE(N, 4)
        USF_CASES(1)
        USF_CASES(2)
        USF_CASES(3)
        USF_CASES(4)
#undef USF_CASES
#undef USF_CASE
    }
    wgmma_commit();
}

// philox() with the keys of its rounds made beforehand
__device__ __forceinline__ Philox4 philox_of(const Chain& p, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
        const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(p1 >> 32) ^ c1 ^ p.keys[round][0];
        c2 = uint32_t(p0 >> 32) ^ c3 ^ p.keys[round][1];
        c1 = uint32_t(p1);
        c3 = uint32_t(p0);
    }
    return {{c0, c1, c2, c3}};
}

// Moves all by a granule to the front. Loops that are to stay small look at the first one only, for the sake of the
// instruction cache.
template <int kEach>
__device__ __forceinline__ void next_granule(float (&x)[kEach * kMost]) {
#pragma unroll
    for (int i = 0; i + kEach < kEach * kMost; ++i) x[i] = x[i + kEach];
}

// Uniforms, times 2^24, of a lane's units of one granule in rows row and row + 8, in the order of the sums.
__device__ __forceinline__ void draw(float (&u)[8], const Chain& p, int granule, bool folded, int q, uint32_t row,
                                     uint32_t step, uint32_t stream) {
    const uint32_t block = uint32_t(granule / 2 * 8 + (folded ? 0 : granule % 2 * 4) + q);
    Philox4 r[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) r[i] = philox_of(p, block, row + 8u * uint32_t(i), step, stream);
    if (folded) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const Philox4 more = philox_of(p, block + 4u, row + 8u * uint32_t(i), step, stream);
            r[i].word[2] = more.word[0];
            r[i].word[3] = more.word[1];
        }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int w = 0; w < 4; ++w) u[w / 2 * 4 + 2 * i + w % 2] = float(r[i].word[w] >> 8);
}

__device__ __forceinline__ float exp_minus(float x) { return approximate_exp2(x * -1.44269504f); }

// A(x) - A(x - d) for the softplus A. In small steps by series in d, given the mean at x: it keeps the digits.
constexpr float kSmallStep = 0.0625f;
__device__ __forceinline__ float small_softplus_step(float d, float mean) {
    const float e = -d * (1.f - d * (0.5f - d * (1.f / 6 - d * (1.f / 24 - d * (1.f / 120)))));  // exp(-d) - 1
    const float y = mean * e;
    return -y * (1.f - y * (0.5f - y * (1.f / 3 - y * (0.25f - y * (0.2f - y * (1.f / 6))))));
}
__device__ __forceinline__ float large_softplus_step(float x, float d) {
    const float z = x - d;
    return fmaxf(x, 0.f) - fmaxf(z, 0.f) + __logf(1.f + exp_minus(fabsf(x))) - __logf(1.f + exp_minus(fabsf(z)));
}

// What a half-step of annealing needs besides.
struct Path {
    double from, to;
    double log_weight[2];
};

// The thread's part of near . (near_bias - base_bias) of its two rows, whose states are `drawn`.
__device__ __forceinline__ void add_linear(Path& path, const Side& near, uint32_t drawn, int first, int count, int q) {
    float sum[2] = {0, 0};
    for (int g = 0; g < count; ++g) {
        const float4 a = near.bias[(first + g) * 4 + q], b = near.base[(first + g) * 4 + q];
        const float d[4] = {a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w};
#pragma unroll
        for (int w = 0; w < 4; ++w)
#pragma unroll
            for (int i = 0; i < 2; ++i) sum[i] += drawn >> (16 * i + place_of(g, w)) & 1u ? d[w] : 0.f;
    }
    for (int i = 0; i < 2; ++i) path.log_weight[i] += (path.to - path.from) * double(sum[i]);
}

// Means of the sums, to global memory: what only the last half-step of a chain does.
__device__ __forceinline__ void store_means(const Chain& p, const Side& side, float (&c)[kSums], int first, int n,
                                            int row, int q) {
#pragma unroll 1
    for (int g = 0; g < n; ++g) {
        const float4 bias4 = side.bias[(first + g) * 4 + q];
        const float bias[4] = {bias4.x, bias4.y, bias4.z, bias4.w};
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int w = 0; w < 4; ++w) {
                const int unit = unit_of(side.units, first + g, q, w);
                if (row + 8 * i < p.m && unit < side.units)
                    p.near_mean[int64_t(row + 8 * i) * side.units + unit] =
                        approximate_reciprocal(1.f + exp_minus(0.5f * c[w / 2 * 4 + 2 * i + w % 2] + bias[w]));
            }
        next_granule<8>(c);
    }
}

__device__ __forceinline__ void load4(float* to, const float4* from) {
    const float4 x = *from;
    to[0] = x.x;
    to[1] = x.y;
    to[2] = x.z;
    to[3] = x.w;
}

// Draws n granules of a side for the two rows of this lane, from the other side's states once `barrier` says that
// they are there; the states in 16 bits a row. The random numbers are made while the tensor cores multiply: by one
// warpgroup a turn earlier than by the other one (`late`), so that they do not want the tensor cores at the same time.
template <bool kAnneal, int kPieces>
__device__ __forceinline__ uint32_t half_step(const Chain& p, bool near, bool last, uint32_t step,
                                              const uint16_t* states, uint32_t tiles, int first, int n, int row, int q,
                                              int late, Path& path, bool wait, uint32_t barrier, uint32_t parity) {
    const Side &side = p.side[near], &other = p.side[!near];
    const int sources = kept(int(cluster_blocks()) * kGroups), most = kept(other.deal.most),
              full = kept(other.deal.full), folded = kept(side.folded);
    const uint32_t stream = kept(side.stream);
    // near is drawn at `to` with its bias on the way from base to bias; far at `to`, or weighed at `from` towards 0
    const float scale = !kAnneal ? 1.f : float(path.to > 0 ? path.to : path.from), rest = float(1 - path.to);
    float bias[4 * kMost] = {}, base[4 * kMost] = {};
#pragma unroll
    for (int g = 0; g < kMost; ++g) {
        if (g == n) break;
        load4(bias + 4 * g, side.bias + (first + g) * 4 + q);
        if (kAnneal && near) load4(base + 4 * g, side.base + (first + g) * 4 + q);
    }

    float c[kSums] = {}, u[kSums] = {};
    uint64_t tile = tile_descriptor(tiles);
    int source = -kBatch;  // the first turn comes before the states do
#pragma unroll 1
    for (int turn = 0; turn - late < n || source < sources; ++turn, source += kBatch) {
        if (turn == 1 && wait) barrier_wait(barrier, parity);
        if (turn > 0 && source < sources) multiply<kPieces>(c, n, states, source, most, full, tile);
        const int g = turn - late;
        if (g >= 0 && g < n) {
            float fresh[8];
            draw(fresh, p, first + g, first + g == folded, q, p.first_row + uint32_t(row), step, stream);
#pragma unroll
            for (int i = 0; i < kSums; ++i) u[i] = i / 8 == g ? fresh[i % 8] : u[i];  // registers have no index
        }
        wgmma_wait<0>();
    }

    if (!kAnneal && near && p.near_mean && last) {
        float means[kSums];
        for (int i = 0; i < kSums; ++i) means[i] = c[i];
        store_means(p, side, means, first, n, row, q);
    }
    if constexpr (kAnneal)
#pragma unroll
        for (int i = 0; i < 4 * kMost; ++i) bias[i] = scale * bias[i] + rest * base[i];
    const float step_share = float(path.to > 0 ? 1 - path.from / path.to : 1.);
    float terms[2] = {0, 0};
    uint32_t drawn = 0;
#pragma unroll
    for (int g = 0; g < kMost; ++g) {
        if (g == n) break;
        uint32_t on = 0;
        float x[8], mean[8], largest = 0;
#pragma unroll
        for (int at = 0; at < 8; ++at) {
            const int i = at / 2 % 2, w = at % 2 + 2 * (at / 4);
            x[at] = 0.5f * scale * c[at] + bias[w];
            const float e = exp_minus(x[at]);
            if (u[at] + u[at] * e < 0x1p24f) on |= 1u << (16 * i + place_of(0, w));  // u < sigmoid(x)
            mean[at] = approximate_reciprocal(1.f + e);
            if (x[at] < kPadding) x[at] = mean[at] = 0.f;
            largest = fmaxf(largest, fabsf(x[at]));
        }
        drawn |= on << 2 * g;
        if (kAnneal && !near) {
            // the vote saves time and changes nothing: each unit goes by its own step
            if (__any_sync(0xffffffffu, !(largest * fabsf(step_share) < kSmallStep))) {
#pragma unroll
                for (int at = 0; at < 8; ++at) {
                    const float d = step_share * x[at];
                    terms[at / 2 % 2] +=
                        fabsf(d) < kSmallStep ? small_softplus_step(d, mean[at]) : large_softplus_step(x[at], d);
                }
            } else {
#pragma unroll
                for (int at = 0; at < 8; ++at) terms[at / 2 % 2] += small_softplus_step(step_share * x[at], mean[at]);
            }
        }
        next_granule<8>(c);
        next_granule<8>(u);
        next_granule<4>(bias);
    }
    if (kAnneal && !near)
        for (int i = 0; i < 2; ++i) path.log_weight[i] += (path.to > 0 ? 1 : -1) * double(terms[i]);
    return drawn;
}

// The states of a lane's two rows to every block of the cluster: lane q sends the quad's words to every fourth.
__device__ __forceinline__ void send(uint32_t drawn, uint32_t to, uint32_t barrier, int q, int blocks) {
    uint32_t quad[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] = __shfl_sync(0xffffffffu, drawn, i, 4);
    const uint32_t upper[2] = {__byte_perm(quad[0], quad[1], 0x5410), __byte_perm(quad[2], quad[3], 0x5410)};
    const uint32_t lower[2] = {__byte_perm(quad[0], quad[1], 0x7632), __byte_perm(quad[2], quad[3], 0x7632)};
    for (int block = q; block < blocks; block += 4) {
        const uint32_t there = of_block(to, block), signal = of_block(barrier, block);
        store_async(there, upper[0], upper[1], signal);
        store_async(there + 8 * 8, lower[0], lower[1], signal);
    }
}

}  // namespace unsupfast::cuda::chains
