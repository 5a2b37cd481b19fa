// How the operands and the states of chains on Hopper lie in memory, and what brings them there: see cuda.cu.
#pragma once
#include "cuda/cluster.h"
#include "cuda/device.h"
#include "elementary.h"
#include "kernels/chain/deal.h"
#include "kernels/chain/op.h"

namespace unsupfast::cuda::chains {

constexpr int kRows = 64;    // chains of a cluster
constexpr int kRounds = 10;  // of Philox
constexpr int kGroups = 2, kThreads = 128 * kGroups;
constexpr int kMost = 4, kSums = 8 * kMost;          // granules of a warpgroup
constexpr int kBatch = 4;                            // sources whose products are under way at a time
constexpr int kTileRows = 32;                        // 16-byte rows of a granule's tile of one step of k
constexpr int kWordBytes = kRows * 4 * 2;            // what a warpgroup sends of a layer
constexpr float kNever = -1e30f, kPadding = -1e15f;  // bias of padding; what x is above elsewhere
constexpr int kSharedBytes = 227 * 1024, kBarrierBytes = 64;

inline int pieces_of(DType format) { return format == DType::bf16 ? 1 : 3; }

// One layer of a chain, and what draws it.
struct Side {
    int units, other;  // units of this layer and of the other one
    int folded;        // the folded granule, or -1
    Deal deal;
    uint4* tiles;  // of the operand, by source: [step of k][piece][granule][kTileRows]
    float4* bias;  // [granule][q], the four words; of padding so low that nothing is drawn
    float4* base;  // the same of base_bias, or null
    uint32_t stream;
    uint32_t bits_at, tiles_at;  // in shared memory
};

struct Chain {
    Side side[2];  // far, near
    int m;
    int64_t steps;
    uint32_t *near_bits, *far_bits;
    float* near_mean;
    uint32_t first_step, first_row;
    uint32_t keys[kRounds][2];  // of Philox, from the seed
    const uint32_t* clock;      // added to first_step, or null
    const double* betas;
    double* log_weight;
    uint32_t barriers_at;
    int tiles, clusters, first_tile;  // 64 chains each, as many as run at a time, see part_of
};

// Where there are more tiles than clusters that run at a time, long chains are cut into `clusters` parts and run in
// `tiles` rounds of `clusters` tiles: round r takes the tiles from r on. Every tile is in `clusters` of the rounds,
// and no cluster ever waits for the last tile.
struct Part {
    int tile;
    int64_t begin, end;  // steps
};
__device__ inline Part part_of(const Chain& p, int cluster) {
    const int tile = (p.first_tile + cluster) % p.tiles;
    if (p.tiles <= p.clusters) return {tile, 0, p.steps};
    int before = 0;  // rounds that this tile has been in
    for (int i = 0; i < p.clusters; ++i) before += (tile - i + p.tiles) % p.tiles < p.first_tile;
    return {tile, p.steps * before / p.clusters, p.steps * (before + 1) / p.clusters};
}

// ---------------------------------------------------------------- operands

struct Arrange {
    const void* panels[2];
    const float *bias[2], *base[2];
    DType format;
};

// The bf16 piece of x: what is left of it after the earlier pieces, rounded.
__device__ __forceinline__ uint32_t piece_of(float x, int piece) {
    uint32_t rounded = pack_bf16(x, 0.f);
    for (int i = 0; i < piece; ++i) {
        x -= __uint_as_float(rounded << 16);
        rounded = pack_bf16(x, 0.f);
    }
    return rounded;
}

// Rows i, which is even, and i + 1 of a column of panels.
__device__ __forceinline__ void load_pair(const Arrange& a, int which, int64_t stored, int column, int i, bool both,
                                          float (&x)[2]) {
    const int64_t panel = column / 32 * stored * 32;
    if (a.format == DType::bf16) {
        const uint16_t* p = static_cast<const uint16_t*>(a.panels[which]) + panel + swizzled(i, column % 32);
        x[0] = __uint_as_float(uint32_t(p[0]) << 16);
        x[1] = __uint_as_float(uint32_t(p[32]) << 16);  // swizzled alike
    } else {
        const float* p = static_cast<const float*>(a.panels[which]) + panel + i * 32 + column % 32;
        x[0] = p[0];
        if (both) x[1] = p[32];
    }
}

// A thread writes 16 bytes: eight steps of k of one column. Biases follow the tiles.
__global__ void __launch_bounds__(256) arrange_kernel(const __grid_constant__ Chain p, const Arrange a, int pieces) {
    const int which = int(blockIdx.x % 2);
    const Side& side = p.side[which];
    const int depth = granules(side.other), rows = depth * side.deal.count * kTileRows;
    int at = int(blockIdx.x / 2 * 256 + threadIdx.x);
    if (at < rows) {
        const int row = at % kTileRows, granule = at / kTileRows % side.deal.count,
                  k = at / kTileRows / side.deal.count;
        const int source = source_of(side.deal, granule), count = count_of(side.deal, source);
        // rows of a tile: two groups of eight columns, in each two halves of k
        const int unit = unit_of(side.units, granule, row % 8 / 2, row % 2 + 2 * (row / 16)), half = row / 8 % 2;
        const int64_t stored = panel_depth(a.format, side.other);
        float x[8];
#pragma unroll
        for (int e = 0; e < 4; ++e) {  // two lanes q at a time: neighbours along k
            const int q = e / 2 * 2, i = unit_of(side.other, k, q, e % 2 + 2 * half);
            float two[2] = {0, 0};
            if (i < side.other && unit < side.units) load_pair(a, which, stored, unit, i, i + 1 < side.other, two);
            x[2 * q + e % 2] = two[0];
            x[2 * q + 2 + e % 2] = two[1];
        }
        if (half)  // see expand()
            for (float& value : x) value *= 0x1p64f;
        const int first = first_of(side.deal, source);
        for (int piece = 0; piece < pieces; ++piece) {
            uint32_t word[4];
            for (int e = 0; e < 4; ++e) word[e] = piece_of(x[2 * e], piece) | piece_of(x[2 * e + 1], piece) << 16;
            side.tiles[((int64_t(depth) * first + k * count) * pieces + piece * count + granule - first) * kTileRows +
                       row] = {word[0], word[1], word[2], word[3]};
        }
        return;
    }
    at -= rows;
    if (at >= side.deal.count * 4) return;
    float bias[4], base[4];
    for (int w = 0; w < 4; ++w) {
        const int unit = unit_of(side.units, at / 4, at % 4, w);
        bias[w] = unit < side.units ? a.bias[which][unit] : kNever;
        base[w] = a.base[which] && unit < side.units ? a.base[which][unit] : kNever;
    }
    side.bias[at] = {bias[0], bias[1], bias[2], bias[3]};
    if (side.base) side.base[at] = {base[0], base[1], base[2], base[3]};
}

// ---------------------------------------------------------------- states

// States in shared memory: [source][row][q], 16 bits; where the word of a granule lies in them.
__host__ __device__ constexpr int place_of(int granule, int word) { return word % 2 * 8 + granule * 2 + (word < 2); }

__device__ inline void take_states(const Side& side, uint16_t* states, const uint32_t* bits, int row0, int m,
                                   int sources) {
    const int words = (side.units + 31) / 32;
    for (int at = int(threadIdx.x); at < sources * kRows * 4; at += kThreads) {
        const int q = at % 4, row = row0 + at / 4 % kRows, source = at / 4 / kRows;
        uint32_t value = 0;
#pragma unroll
        for (int g = 0; g < kMost; ++g) {
            const int granule = first_of(side.deal, source) + g;
            if (g >= count_of(side.deal, source) || row >= m) break;
            const uint32_t word = bits[int64_t(row) * words + granule / 2];
            for (int w = 0; w < 4; ++w)
                value |= (word >> unit_of(side.units, granule, q, w) % 32 & 1u) << place_of(g, w);
        }
        states[at] = uint16_t(value);
    }
}

// The blocks of the cluster share the words.
__device__ inline void give_states(const Side& side, const uint16_t* states, uint32_t* bits, int row0, int m, int rank,
                                   int blocks) {
    const int words = (side.units + 31) / 32;
    for (int at = rank * kThreads + int(threadIdx.x); at < kRows * words; at += blocks * kThreads) {
        const int row = at / words, word = at % words;
        if (row0 + row >= m) break;
        uint32_t value = 0;
        for (int granule = 2 * word; granule < min(2 * word + 2, side.deal.count); ++granule) {
            const int source = source_of(side.deal, granule), g = granule - first_of(side.deal, source);
            for (int q = 0; q < 4; ++q) {
                const uint32_t four = states[(source * kRows + row) * 4 + q];
                for (int w = 0; w < 4; ++w)
                    value |= (four >> place_of(g, w) & 1u) << unit_of(side.units, granule, q, w) % 32;
            }
        }
        bits[int64_t(row0 + row) * words + word] = value;
    }
}

}  // namespace unsupfast::cuda::chains
