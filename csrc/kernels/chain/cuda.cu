// Chains on Hopper: one kernel for all alternations. A cluster of blocks runs 64 chains. Its warpgroups share out the
// units of both layers, and each keeps its columns of both operands in shared memory. A half-step is a product on
// the tensor cores with the states, expanded from bits, as left operand in registers; the states drawn, 16 bits a
// chain and lane, go to all blocks of the cluster as stores that the receiving barrier counts. Nothing else is
// synchronised: a warpgroup can only draw a layer again once it has everybody's states of the other one, and these
// were sent after their senders had read the first.
//
// float32 weights are split into three bf16 pieces, whose products with zeros and ones are exact.
#include "kernels/chain/op.h"

#include <algorithm>

#include "cuda/cluster.h"
#include "cuda/device.h"
#include "cuda/wgmma.h"
#include "elementary.h"
#include "kernels/chain/deal.h"

namespace unsupfast {
namespace cuda {
namespace {

enum ChainScratch : int { kTileScratch = 6 };

constexpr int kRows = 64;    // chains of a cluster
constexpr int kRounds = 10;  // of Philox
constexpr int kGroups = 2, kThreads = 128 * kGroups;
constexpr int kMost = 4, kSums = 8 * kMost;          // granules of a warpgroup
constexpr int kBatch = 4;                            // sources whose products are under way at a time
constexpr int kTileRows = 32;                        // 16-byte rows of a granule's tile of one step of k
constexpr int kWordBytes = kRows * 4 * 2;            // what a warpgroup sends of a layer
constexpr float kNever = -1e30f, kPadding = -1e15f;  // bias of padding; what x is above elsewhere
constexpr int kSharedBytes = 227 * 1024, kBarrierBytes = 64;

int pieces_of(DType format) { return format == DType::bf16 ? 1 : 3; }

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
__device__ Part part_of(const Chain& p, int cluster) {
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

__device__ void take_states(const Side& side, uint16_t* states, const uint32_t* bits, int row0, int m, int sources) {
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
__device__ void give_states(const Side& side, const uint16_t* states, uint32_t* bits, int row0, int m, int rank,
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

// ---------------------------------------------------------------- a half-step

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

// exp(-x) and 1 / x, correct to a few units in the last place, without care for denormals
__device__ __forceinline__ float exp_minus(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * -1.44269504f));
    return y;
}
__device__ __forceinline__ float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

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
                        reciprocal(1.f + exp_minus(0.5f * c[w / 2 * 4 + 2 * i + w % 2] + bias[w]));
            }
        next_granule<8>(c);
    }
}

// A parameter read once, and from then on in a register.
template <class T>
__device__ __forceinline__ T kept(T x) {
    asm volatile("" : "+r"(x));
    return x;
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
            mean[at] = reciprocal(1.f + e);
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

template <bool kAnneal, int kPieces>
__global__ void __launch_bounds__(kThreads, 1) chain_kernel(const __grid_constant__ Chain p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(128) unsigned char memory[];
    const int blocks = int(cluster_blocks()), rank = int(cluster_rank()), sources = blocks * kGroups;
    const int group = __shfl_sync(0xffffffffu, int(threadIdx.x) / 128, 0), warp = int(threadIdx.x) / 32 % 4,
              lane = int(threadIdx.x) % 32;
    const int source = group * blocks + rank, q = lane % 4, in_tile = warp * 16 + lane / 4;
    const Part part = part_of(p, int(blockIdx.x) / blocks);
    const int row0 = part.tile * kRows;
    const uint32_t start = shared_address(memory), loaded = start + p.barriers_at, barrier = loaded + 8;
    const auto states = [&](int side) { return reinterpret_cast<uint16_t*>(memory + p.side[side].bits_at); };

    if (threadIdx.x == 0) {
        for (int i = 0; i < 3; ++i) barrier_init(loaded + 8 * i, 1);
        barrier_init_fence();
    }
    cluster_sync();
    uint32_t far_tiles = 0, near_tiles = 0, to_load = 0;
    for (int s = 0; s < 2; ++s) {
        const Side& side = p.side[s];
        const int depth = granules(side.other) * kPieces;
        uint32_t at = start + side.tiles_at;
        for (int g = 0; g < kGroups; ++g) {
            const uint32_t bytes = uint32_t(depth * count_of(side.deal, g * blocks + rank) * kTileRows * 16);
            if (g == group) (s ? near_tiles : far_tiles) = at;
            if (threadIdx.x == 0 && bytes)
                bulk_copy(at, side.tiles + int64_t(depth) * first_of(side.deal, g * blocks + rank) * kTileRows, bytes,
                          loaded);
            at += bytes;
            to_load += bytes;
        }
        if (threadIdx.x == 0) barrier_expect(barrier + 8 * s, uint32_t(sources * kWordBytes));
    }
    if (threadIdx.x == 0) barrier_expect(loaded, to_load);
    take_states(p.side[1], states(1), p.near_bits, row0, p.m, sources);
    __syncthreads();
    barrier_wait(loaded, 0);

    const uint32_t first_step = p.first_step + (p.clock ? *p.clock : 0u);
    Path path = {};
    if (kAnneal) path.to = p.betas[part.begin];
    const uint16_t* of_near = states(1) + (source * kRows + in_tile) * 4 + q;
    uint32_t own = of_near[0] | uint32_t(of_near[8 * 4]) << 16;  // this lane's states of near
    uint32_t rounds = 0;                                         // in which both layers were drawn
    bool pending = false;                                        // states of near are on their way
    for (int64_t step = part.begin; step < part.end; ++step) {
        if (kAnneal) {
            path.from = path.to;
            path.to = p.betas[step + 1];
        }
#pragma unroll 1
        for (int s = 0; s < 2; ++s) {
            const Side& side = p.side[s];
            const uint32_t received = rounds - (s == 0), other = barrier + 8 * (1 - s);
            const bool wait = s == 1 || pending;
            const uint32_t drawn = half_step<kAnneal, kPieces>(
                p, s == 1, step + 1 == p.steps, first_step + uint32_t(step), states(1 - s) + in_tile * 4 + q,
                s ? near_tiles : far_tiles, first_of(side.deal, source), count_of(side.deal, source), row0 + in_tile, q,
                group, path, wait, other, received % 2);
            if (wait && threadIdx.x == 0) barrier_expect(other, uint32_t(sources * kWordBytes));
            if (s == 1 || !kAnneal || path.to > 0)
                send(drawn, start + side.bits_at + uint32_t((source * kRows + in_tile) * 8), barrier + 8 * s, q,
                     blocks);
            if constexpr (kAnneal) {
                if (s == 0) {
                    const Side& near = p.side[1];
                    add_linear(path, near, own, first_of(near.deal, source), count_of(near.deal, source), q);
                    if (!(path.to > 0)) break;
                } else {
                    own = drawn;
                }
            }
        }
        pending = !kAnneal || path.to > 0;
        rounds += pending;
    }
    if (pending) barrier_wait(barrier + 8, (rounds - 1) % 2);
    if (rounds) {
        give_states(p.side[1], states(1), p.near_bits, row0, p.m, rank, blocks);
        if (p.far_bits) give_states(p.side[0], states(0), p.far_bits, row0, p.m, rank, blocks);
    }
    cluster_sync();
    if constexpr (kAnneal) {
        // the parts of a chain's weight, in the order of blocks and warpgroups
        double* parts = reinterpret_cast<double*>(memory + p.side[0].bits_at);
        for (int i = 0; i < 2; ++i) {
            const double sum = sum_lanes<4>(path.log_weight[i]);
            if (q == 0) parts[group * kRows + in_tile + 8 * i] = sum;
        }
        cluster_sync();
        const int row = int(threadIdx.x);
        if (rank == 0 && row < kRows && row0 + row < p.m) {
            double sum = 0;
            for (int block = 0; block < blocks; ++block)
                for (int g = 0; g < kGroups; ++g)
                    sum += load_of_block(of_block(shared_address(parts + g * kRows + row), block));
            p.log_weight[row0 + row] += sum;
        }
        cluster_sync();
    }
#else
    __trap();
#endif
}

// ---------------------------------------------------------------- host

// Shared memory of a block in a cluster of this size; 0 if a warpgroup's share of a layer is too large.
int shared_bytes(int far, int near, int pieces, int blocks, Chain* p) {
    const int sources = blocks * kGroups;
    int at = 0;
    for (int s = 0; s < 2; ++s) {
        const Deal d = deal(granules(s ? near : far), sources);
        if (d.most > kMost) return 0;
        if (p) p->side[s].tiles_at = uint32_t(at);
        at += granules(s ? far : near) * pieces * (count_of(d, 0) + count_of(d, blocks)) * kTileRows * 16;
    }
    for (int s = 0; s < 2; ++s) {
        if (p) p->side[s].bits_at = uint32_t(at);
        at += sources * kWordBytes;
    }
    if (p) p->barriers_at = uint32_t(at);
    return at + kBarrierBytes;
}

bool is_hopper() {
    int device = 0, major = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "asking for the capability");
    return major == 9;
}

constexpr int kLargestCluster = 16, kPortableCluster = 8;

// Blocks of a cluster; 0 if the operands fit none. The smallest cluster that holds them, or a larger one while
// multiprocessors would stand idle.
int cluster_for(int64_t near, int64_t far, DType format, int64_t tiles, int processors) {
    constexpr int64_t kUnits = kLargestCluster * kGroups * kMost * kGranule;
    if (near > kUnits || far > kUnits || near < 1 || far < 1 || (format != DType::bf16 && format != DType::f32))
        return 0;
    const int smaller = granules(int(near < far ? near : far));
    int blocks = 2;  // so that the number of warpgroups is a multiple of kBatch
    const auto fits = [&] {
        const int bytes = shared_bytes(int(far), int(near), pieces_of(format), blocks, nullptr);
        return bytes > 0 && bytes <= kSharedBytes;
    };
    while (blocks <= kLargestCluster && !fits()) blocks *= 2;
    if (blocks > kLargestCluster) return 0;
    while (2 * blocks <= kPortableCluster && 2 * blocks * tiles <= processors && smaller >= 2 * blocks * kGroups)
        blocks *= 2;
    return blocks;
}

template <bool kAnneal, int kPieces>
void launch_chain(Chain p, int blocks, int bytes, const Launch& launch) {
    constexpr int64_t kShortest = 32;  // steps of a part: they have to be worth loading the operands
    const auto kernel = chain_kernel<kAnneal, kPieces>;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "asking for shared memory");
    if (blocks > kPortableCluster)
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), "asking for clusters");
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {unsigned(blocks), 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(blocks * p.tiles));
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = size_t(bytes);
    config.stream = static_cast<cudaStream_t>(launch.stream);
    config.attrs = &cluster;
    config.numAttrs = 1;
    int rounds = 1;
    p.clusters = p.tiles;
    if (p.steps >= kShortest) {
        int active = 0;
        check(cudaOccupancyMaxActiveClusters(&active, kernel, &config), "asking for clusters");
        if (active > 0 && p.tiles > active && p.tiles % active && p.steps >= kShortest * active) {
            p.clusters = active;
            rounds = p.tiles;
            config.gridDim = dim3(unsigned(blocks * active));
        }
    }
    for (p.first_tile = 0; p.first_tile < rounds; ++p.first_tile)
        check(cudaLaunchKernelEx(&config, kernel, p), "kernel launch");
}

void chain(const GibbsChain& g, const Launch& launch) {
    if (g.m == 0 || g.steps == 0) return;
    const int64_t tiles = (g.m + kRows - 1) / kRows;
    const int blocks = g.dtype == DType::f32 ? cluster_for(g.near, g.far, g.format, tiles, multiprocessors()) : 0;
    if (blocks == 0 || !is_hopper())
        throw std::runtime_error("CUDA: no chain kernel for layers of these sizes and types on this GPU");
    const int pieces = pieces_of(g.format);

    Chain p = {};
    const int bytes = shared_bytes(int(g.far), int(g.near), pieces, blocks, &p);
    size_t needed[2], rows[2];
    for (int s = 0; s < 2; ++s) {
        Side& side = p.side[s];
        side.units = int(s ? g.near : g.far);
        side.other = int(s ? g.far : g.near);
        side.deal = deal(granules(side.units), blocks * kGroups);
        side.folded = has_folded(side.units) ? side.deal.count - 1 : -1;
        side.stream = s ? g.near_stream : g.far_stream;
        rows[s] = size_t(granules(side.other) * side.deal.count) * kTileRows;
        needed[s] = (rows[s] * size_t(pieces) + size_t(side.deal.count) * 8) * 16;
    }
    char* scratch = static_cast<char*>(launch.scratch(kTileScratch, needed[0] + needed[1]));
    for (int s = 0; s < 2; ++s) {
        Side& side = p.side[s];
        side.tiles = reinterpret_cast<uint4*>(scratch + (s ? needed[0] : 0));
        side.bias = reinterpret_cast<float4*>(side.tiles + rows[s] * size_t(pieces));
        side.base = s && g.betas ? side.bias + side.deal.count * 4 : nullptr;
    }
    p.m = int(g.m);
    p.tiles = int(tiles);
    p.steps = g.steps;
    p.near_bits = g.near_bits;
    p.far_bits = g.far_bits;
    p.near_mean = static_cast<float*>(g.near_mean);
    for (int round = 0; round < kRounds; ++round) {
        p.keys[round][0] = uint32_t(g.seed) + uint32_t(round) * 0x9E3779B9u;
        p.keys[round][1] = uint32_t(g.seed >> 32) + uint32_t(round) * 0xBB67AE85u;
    }
    p.first_step = g.first_step;
    p.first_row = g.first_row;
    p.clock = g.clock;
    p.betas = g.betas;
    p.log_weight = g.log_weight;

    const auto values = [](const void* x) { return static_cast<const float*>(x); };
    const Arrange a{{g.to_far, g.to_near},
                    {values(g.far_bias), values(g.near_bias)},
                    {nullptr, g.betas ? values(g.base_bias) : nullptr},
                    g.format};
    const size_t threads =
        std::max(rows[0] + size_t(p.side[0].deal.count) * 4, rows[1] + size_t(p.side[1].deal.count) * 4);
    start(launch, int64_t(threads + 255) / 256 * 2, 256, arrange_kernel, p, a, pieces);
    if (g.betas)
        pieces == 1 ? launch_chain<true, 1>(p, blocks, bytes, launch) : launch_chain<true, 3>(p, blocks, bytes, launch);
    else
        pieces == 1 ? launch_chain<false, 1>(p, blocks, bytes, launch)
                    : launch_chain<false, 3>(p, blocks, bytes, launch);
}

}  // namespace
}  // namespace cuda

bool chain_fits_cuda(int64_t near, int64_t far, DType format) {
    return cuda::is_hopper() && cuda::cluster_for(near, far, format, 1, 1) > 0;
}

USF_KERNEL(cuda, GibbsChain) { cuda::chain(p, launch); }

}  // namespace unsupfast
