// The GEMM engine for Hopper (sm_90a), of products in bf16 and, through pieces of bf16, in float32.
//
// One warp copies the operands of a step of k to shared memory (bulk copies, a ring of stages); one or two
// groups of four warps multiply them with wgmma and hand the sums to the epilogue. A left operand of bits stays
// bits until it is in registers. Blocks live on and take one tile after the other, so that the next tile is
// copied while an epilogue runs; with `turns` the groups take tiles in turn, so that it is multiplied too.
// The blocks of a cluster have tiles above each other and share every copy of the right operand.
//
// Every sum is one chain over k in a fixed order: two runs agree bitwise. For float32 the products of pieces
// are summed smallest first, and what a step sums is added with a rounding add: wgmma's own sums are truncated.
#pragma once
#include <algorithm>
#include <atomic>

#include "cuda/hopper.h"
#include "kernels/gemm/operands.cuh"
#include "kernels/gemm/pieces.cuh"

namespace unsupfast::cuda::hopper {

template <int kLeft, int kRight, int kFrags, int kCols, int kGroups, bool kTurns, int kSpan, int kStages, int kCluster>
struct Shape {
    static constexpr int left = kLeft;    // pieces of the left operand; 0: bits
    static constexpr int right = kRight;  // pieces of the right operand
    static constexpr int frags = kFrags;  // a group multiplies frags x 64 rows
    static constexpr int cols = kCols;    // of a tile
    static constexpr int groups = kGroups;
    static constexpr bool turns = kTurns;
    static constexpr int span = kSpan;  // of k in a stage
    static constexpr int stages = kStages;
    static constexpr int cluster = kCluster;

    static constexpr int rows = 64 * frags * (turns ? 1 : groups);  // of a tile
    static constexpr int threads = 128 * (groups + 1);
    static constexpr int steps = span / 16;
    static constexpr int left_piece = rows * span * 2, right_piece = cols * span * 2;  // bytes
    static constexpr int right_at = left * left_piece, stage = right_at + right * right_piece;
    static constexpr int kept_at = stages * stage, kept = 16 * 64 * 4;  // of a warp, for the epilogue
    static constexpr int barriers_at = kept_at + groups * 4 * kept;
    static constexpr int shared = barriers_at + (2 * stages + groups) * 8;
    static_assert(shared <= 227 * 1024 && (!turns || (groups == 2 && right == 1)) && stage % 512 == 0 && cols % 64 == 0 && span % 32 == 0);
};

struct Operands {
    int64_t m, n, k;
    const uint16_t* left;  // pieces.cuh
    int64_t left_piece, left_depth;
    const uint32_t* bits;
    int64_t bits_stride;
    const uint16_t* right;  // panels of right_depth rows
    int64_t right_piece, right_depth;
};

// Which tile comes when: bands of a few tiles down, from left to right, so that the blocks that run at the same
// time share rows and columns.
template <class S>
struct Tiles {
    static constexpr int64_t kBand = 8;
    int64_t down, across;  // in clusters, in tiles
    __host__ __device__ Tiles(int64_t m, int64_t n)
        : down((m + S::rows * S::cluster - 1) / (S::rows * S::cluster)), across((n + S::cols - 1) / S::cols) {}
    __host__ __device__ int64_t count() const { return down * across; }
    // first row of the cluster's first block, first column
    __device__ void place(int64_t t, int64_t& row, int64_t& col) const {
        const int64_t band = t / (kBand * across), in = t % (kBand * across);
        const int64_t height = min(kBand, down - band * kBand);
        row = (band * kBand + in % height) * (S::rows * S::cluster);
        col = in / height * S::cols;
    }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <class S>
struct Ring {
    unsigned char* shared;
    uint64_t *full, *empty, *turn;
    __device__ explicit Ring(unsigned char* memory)
        : shared(memory),
          full(reinterpret_cast<uint64_t*>(memory + S::barriers_at)),
          empty(full + S::stages),
          turn(empty + S::stages) {}

    // With `turns` a group starts on its tile when the other one has seen all its stages arrive: a barrier tells
    // only one round of the ring from the next.
    __device__ void take_turn(int group, uint32_t count) const {
        if (S::turns) barrier_wait(turn + group, (count & 1) ^ (group == 0));
    }
    __device__ void pass_turn(int group) const {
        if (S::turns && threadIdx.x % 32 == 0) barrier_arrive(turn + (group ^ 1));
    }

    // all threads of the cluster
    __device__ void open(const Operands& p) {
        if (threadIdx.x == 0) {
            for (int s = 0; s < S::stages; ++s) {
                barrier_init(full + s, 1);
                barrier_init(empty + s, (S::turns ? 4 : 4 * S::groups) * S::cluster);
            }
            for (int g = 0; g < S::groups; ++g) barrier_init(turn + g, 4);
            barrier_init_fence();
        }
        // Rows past the end of the right operand are multiplied by zeros: they must not hold a NaN.
        if (const int rest = int(p.right_depth % S::span)) {
            constexpr int kPanels = S::right * S::cols / 32;
            const int words = (S::span - rest) * 4;
            for (int i = int(threadIdx.x); i < S::stages * kPanels * words; i += S::threads) {
                const int panel = i / words;
                unsigned char* at = shared + panel / kPanels * S::stage + S::right_at + panel % kPanels * S::span * 64;
                reinterpret_cast<uint4*>(at + rest * 64)[i % words] = make_uint4(0, 0, 0, 0);
            }
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        }
        if constexpr (S::cluster > 1)
            cluster_barrier();
        else
            __syncthreads();
    }

    __device__ unsigned char* stage(uint32_t step) const { return shared + step % S::stages * S::stage; }
    __device__ void wait_full(uint32_t step) const {
        barrier_wait(full + step % S::stages, (step / S::stages) & 1);
    }
    __device__ void wait_empty(uint32_t step) const {
        barrier_wait(empty + step % S::stages, ((step / S::stages) & 1) ^ 1);
    }
    __device__ void release(uint32_t step) const {
        if (threadIdx.x % 32 != 0) return;
        if constexpr (S::cluster == 1)
            barrier_arrive(empty + step % S::stages);
        else
            for (int block = 0; block < S::cluster; ++block) barrier_arrive(empty + step % S::stages, block);
    }
};

// What one warp copies: each lane one part of every stage, 64 rows of the left operand or a panel of the right one.
template <class S>
__device__ void copy_operands(const Operands& p, const Tiles<S>& tiles, const Ring<S>& ring) {
    constexpr int kBlocks = S::rows / 64, kPanels = S::cols / 32, kMine = kPanels / S::cluster;
    static_assert(S::left * kBlocks + S::right * kMine <= 32);
    const int lane = int(threadIdx.x), rank = S::cluster > 1 ? int(cluster_rank()) : 0;
    const bool is_left = lane < S::left * kBlocks;
    const int part = is_left ? lane : lane - S::left * kBlocks, piece = part / (is_left ? kBlocks : kMine);
    const int in_piece = is_left ? part % kBlocks : part % kMine * S::cluster + rank;
    const int to = is_left ? piece * S::left_piece + in_piece * 64 * S::span * 2
                           : S::right_at + piece * S::right_piece + in_piece * S::span * 64;
    uint32_t step = 0;
    for (int64_t t = blockIdx.x / S::cluster; t < tiles.count(); t += gridDim.x / S::cluster) {
        int64_t row, col;
        tiles.place(t, row, col);
        const int64_t block = row / 64 + rank * kBlocks, panel = col / kPanel;
        const int blocks = int(max(int64_t(0), min((p.m + 63) / 64 - block, int64_t(kBlocks))));
        const int panels = int(min(panel_count(p.n) - panel, int64_t(kPanels)));
        const bool mine = is_left ? in_piece < blocks : piece < S::right && in_piece < panels;
        const uint16_t* from =
            is_left ? p.left + piece * p.left_piece + (block + in_piece) * (p.left_depth / kBlockDepth) * kBlockElements
                    : p.right + piece * p.right_piece + (panel + in_piece) * p.right_depth * kPanel;
        const int advance = is_left ? S::span / int(kBlockDepth) * int(kBlockElements) : S::span * int(kPanel);
        for (int64_t k = 0; k < p.k; k += S::span, ++step, from += advance) {
            const uint32_t rows = uint32_t(min(p.right_depth - k, int64_t(S::span)));
            const uint32_t bytes = is_left ? 64 * S::span * 2 : rows * 64;
            uint64_t* full = ring.full + step % S::stages;
            ring.wait_empty(step);
            if (lane == 0) barrier_expect(full, S::left * blocks * 64 * S::span * 2 + S::right * panels * rows * 64);
            __syncwarp();
            if (!mine) continue;
            if (S::cluster == 1 || is_left)
                bulk_copy(ring.stage(step) + to, from, bytes, full);
            else
                bulk_copy(ring.stage(step) + to, from, bytes, full, uint16_t((1 << S::cluster) - 1));
        }
    }
}

// The fragments of a left operand of bits, which has 2 where a bit is set: one byte permutation makes a register
// of two values, while 1 would take a multiplication more.
template <class S>
struct BitFragments {
    static constexpr int kWords = S::span / 32;
    const uint32_t* row[S::frags][2];
    uint32_t word[S::frags][2][kWords];
    int64_t words;

    __device__ BitFragments(const Operands& p, int64_t row0) : words((p.k + 31) / 32) {
        const int warp = int(threadIdx.x) / 32 % 4, lane = int(threadIdx.x) % 32;
#pragma unroll
        for (int f = 0; f < S::frags; ++f)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                row[f][h] = p.bits + min(row0 + f * 64 + warp * 16 + h * 8 + lane / 4, p.m - 1) * p.bits_stride;
    }
    __device__ void load(int64_t chunk) {
#pragma unroll
        for (int f = 0; f < S::frags; ++f)
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int w = 0; w < kWords; ++w) {
                    const int64_t at = chunk * kWords + w;
                    word[f][h][w] = at < words ? __ldg(row[f][h] + at) : 0u;
                }
    }
    template <int kByte>
    static __device__ uint32_t pair(uint32_t even, uint32_t odd) {
        uint32_t x;  // 0 0x40 of even, 0 0x40 of odd: the sign of a byte without one is 0
        asm("prmt.b32 %0, %1, %2, %3;" : "=r"(x) : "r"(even), "r"(odd), "n"(0x4808 + (kByte << 12) + (kByte << 4)));
        return x;
    }
    __device__ void expand(uint32_t (&a)[S::frags][S::steps][4]) const {
        const int shift = int(threadIdx.x) % 4 * 2;
#pragma unroll
        for (int f = 0; f < S::frags; ++f)
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int w = 0; w < kWords; ++w) {
                    const uint32_t bits = word[f][h][w] >> shift;
                    const uint32_t even = bits << 6 & 0x40404040u, odd = bits << 5 & 0x40404040u;
                    a[f][2 * w][h] = pair<0>(even, odd);
                    a[f][2 * w][2 + h] = pair<1>(even, odd);
                    a[f][2 * w + 1][h] = pair<2>(even, odd);
                    a[f][2 * w + 1][2 + h] = pair<3>(even, odd);
                }
    }
};

// Which pieces are multiplied, smallest products first.
template <class S>
struct Pairs {
    static constexpr int count = S::right == 1 ? 1 : S::left == 0 ? 3 : 6;
    static USF_MAP int left(int i) {
        constexpr int all[6] = {0, 1, 2, 0, 1, 0};
        return count == 6 ? all[i] : 0;
    }
    static USF_MAP int right(int i) {
        constexpr int all[6] = {2, 1, 0, 1, 0, 0};
        return count == 6 ? all[i] : count - 1 - i;
    }
};

// The sums of a group's part of a tile.
template <class S>
struct Sums {
    static constexpr bool kPromote = S::right > 1;
    static constexpr int kFragments = S::cols / 2;
    float sum[S::frags][kFragments];

    // The products of one stage; `first_row` counts in 64 rows of the tile.
    template <class A>
    static __device__ __forceinline__ void issue(float (&d)[S::frags][kFragments], unsigned char* stage, int first_row,
                                                 const A& a, bool fresh) {
        const uint64_t right = operand(shared_address(stage + S::right_at), S::span * 64);
        const uint64_t left = operand(shared_address(stage + first_row * 64 * S::span * 2));
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < Pairs<S>::count; ++i)
#pragma unroll
            for (int s = 0; s < S::steps; ++s)
#pragma unroll
                for (int f = 0; f < S::frags; ++f) {
                    const bool begin = fresh && i == 0 && s == 0;
                    const uint64_t b = right + (Pairs<S>::right(i) * S::right_piece + s * 16 * 64) / 16;
                    if constexpr (S::left == 0)
                        Wgmma<S::cols>::run(d[f], a[f][s], b, begin);
                    else
                        Wgmma<S::cols>::run(d[f],
                                            left + (Pairs<S>::left(i) * S::left_piece + f * 64 * S::span * 2 +
                                                    s / 2 * (64 * 64) + s % 2 * 32) /
                                                       16,
                                            b, begin);
                }
        wgmma_commit();
    }

    __device__ __forceinline__ void multiply(const Operands& p, const Ring<S>& ring, uint32_t step, uint32_t chunks,
                                             int64_t row, int first_row) {
        if constexpr (kPromote) {
            float part[S::frags][kFragments];
#pragma unroll
            for (int f = 0; f < S::frags; ++f)
#pragma unroll
                for (int i = 0; i < kFragments; ++i) sum[f][i] = 0;
            const auto run = [&](uint32_t c, const auto& a) {
                ring.wait_full(step + c);
                issue(part, ring.stage(step + c), first_row, a, true);
                wgmma_wait<0>();
                ring.release(step + c);
#pragma unroll
                for (int f = 0; f < S::frags; ++f)
#pragma unroll
                    for (int i = 0; i < kFragments; ++i) sum[f][i] += part[f][i];
            };
            if constexpr (S::left == 0) {
                BitFragments<S> bits(p, row);
                uint32_t a[S::frags][S::steps][4];
                bits.load(0);
                for (uint32_t c = 0; c < chunks; ++c) {
                    bits.expand(a);
                    bits.load(c + 1);
                    run(c, a);
                }
            } else {
                for (uint32_t c = 0; c < chunks; ++c) run(c, 0);
            }
            return;
        }
        // One step is multiplied while the one before ends: then its stage and registers are free.
        if constexpr (S::left == 0) {
            BitFragments<S> bits(p, row);
            uint32_t a[2][S::frags][S::steps][4];
            bits.load(0);
            bits.expand(a[0]);
            bits.load(1);
            const auto run = [&](uint32_t c, const uint32_t (&now)[S::frags][S::steps][4],
                                 uint32_t (&next)[S::frags][S::steps][4]) {
                ring.wait_full(step + c);
                issue(sum, ring.stage(step + c), first_row, now, c == 0);
                wgmma_wait<1>();
                if (c > 0) ring.release(step + c - 1);
                bits.expand(next);
                bits.load(c + 2);
            };
            for (uint32_t c = 0; c < chunks; c += 2) {
                run(c, a[0], a[1]);
                if (c + 1 < chunks) run(c + 1, a[1], a[0]);
            }
        } else {
            for (uint32_t c = 0; c < chunks; ++c) {
                ring.wait_full(step + c);
                issue(sum, ring.stage(step + c), first_row, 0, c == 0);
                wgmma_wait<1>();
                if (c > 0) ring.release(step + c - 1);
            }
        }
        ring.pass_turn(int(threadIdx.x) / 128 - 1);
        wgmma_wait<0>();
        ring.release(step + chunks - 1);
    }

    // Through shared memory, 16 rows of 64 columns a warp at a time: there a thread finds the four columns that
    // an epilogue wants, and eight neighbours have the 32 columns of a panel's row.
    template <class Epilogue>
    __device__ __forceinline__ void finish(const Operands& p, int64_t row, int64_t col, float* kept,
                                           const Epilogue& epilogue) const {
        constexpr int kRounds = S::cols / 64;
        const int warp = int(threadIdx.x) / 32 % 4, lane = int(threadIdx.x) % 32;
        const auto at = [&](int r, int c) -> float& { return kept[r * 64 + (c ^ r % 4 * 8)]; };
#pragma unroll 1
        for (int round = 0; round < S::frags * kRounds; ++round) {
            __syncwarp();
#pragma unroll
            for (int q = 0; q < S::frags * kRounds; ++q)
                if (q == round)
#pragma unroll
                    for (int i = 0; i < 16; ++i) {
                        const float* d = sum[q / kRounds] + q % kRounds * 32 + 2 * i;
                        *reinterpret_cast<float2*>(&at(lane / 4 + i % 2 * 8, i / 2 * 8 + lane % 4 * 2)) =
                            S::left ? make_float2(d[0], d[1]) : make_float2(0.5f * d[0], 0.5f * d[1]);
                    }
            __syncwarp();
            const int64_t row0 = row + round / kRounds * 64 + warp * 16 + lane / 8;
            const int64_t panel0 = (col + round % kRounds * 64) / kPanel;
#pragma unroll 1
            for (int i = 0; i < 8; ++i) {
                const int64_t r = row0 + i % 4 * 4, panel = panel0 + i / 4;
                float sums[4];
#pragma unroll
                for (int w = 0; w < 4; ++w) sums[w] = at(i % 4 * 4 + lane / 8, i / 4 * 32 + column_of(lane % 8, w));
                const bool inside = r < p.m && panel < panel_count(p.n);
                float term = inside ? epilogue(r, panel, lane % 8, sums) : 0.f;
                if (!epilogue.wants_row_sums()) continue;
                term = sum_lanes<8>(term);
                if (inside && lane % 8 == 0) epilogue.row_sum(r, panel, term);
            }
        }
    }
};

template <class S, class Epilogue>
__device__ __forceinline__ void run(const Operands& p, const Epilogue& epilogue) {
    extern __shared__ __align__(1024) unsigned char shared[];
    Ring<S> ring(shared);
    ring.open(p);
    let_next_grid_start();
    wait_for_grid();
    const Tiles<S> tiles(p.m, p.n);
    const int group = int(threadIdx.x) / 128 - 1;
    if (group < 0) {
        if constexpr (S::groups > 1) give_registers<40>();
        if (threadIdx.x < 32) copy_operands<S>(p, tiles, ring);
    } else {
        if constexpr (S::groups > 1) take_registers<232>();
        const uint32_t chunks = uint32_t((p.k + S::span - 1) / S::span);
        const int64_t rank = S::cluster > 1 ? cluster_rank() : 0;
        const int first_row = S::turns ? 0 : group * S::frags;
        float* kept = reinterpret_cast<float*>(shared + S::kept_at + (threadIdx.x / 32 - 4) * S::kept);
        uint32_t step = 0;
        uint32_t count = 0;
        for (int64_t t = blockIdx.x / S::cluster; t < tiles.count(); t += gridDim.x / S::cluster, step += chunks) {
            const uint32_t mine = count++;
            if (S::turns && int(mine % S::groups) != group) continue;
            int64_t row, col;
            tiles.place(t, row, col);
            row += rank * S::rows + first_row * 64;
            Sums<S> sums;
            ring.take_turn(group, mine / S::groups);
            sums.multiply(p, ring, step, chunks, row, first_row);
            sums.finish(p, row, col, kept, epilogue);
        }
    }
    // a block's shared memory is written and its barriers are arrived on by its neighbours until they end too
    if constexpr (S::cluster > 1) {
        __syncwarp();
        cluster_barrier();
    }
}

#endif

template <class S, class Epilogue>
__global__ void __launch_bounds__(S::threads, S::groups > 1 ? 1 : 2)
    hopper_kernel(const __grid_constant__ Operands p, const __grid_constant__ Epilogue epilogue) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    run<S>(p, epilogue);
#endif
}

template <class S, class Epilogue>
void start(const Operands& p, const Launch& launch, const Epilogue& epilogue) {
    static std::atomic<int> resident[64];  // clusters that a GPU runs at the same time; 0: not asked yet
    auto* kernel = hopper_kernel<S, Epilogue>;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(S::cluster);
    config.blockDim = dim3(S::threads);
    config.dynamicSmemBytes = S::shared;
    config.stream = static_cast<cudaStream_t>(launch.stream);
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = S::cluster;
    attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    config.attrs = attributes;
    config.numAttrs = 1;
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    auto& clusters = resident[device & 63];
    if (clusters == 0) {
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::shared),
              "asking for shared memory");
        int count = 0;
        check(cudaOccupancyMaxActiveClusters(&count, kernel, &config), "asking for occupancy");
        clusters = std::max(count, 1);
    }
    config.gridDim = dim3(unsigned(std::min(Tiles<S>(p.m, p.n).count(), int64_t(clusters))) * S::cluster);
    config.numAttrs = 2;
    check(cudaLaunchKernelEx(&config, kernel, p, epilogue), "kernel launch");
}

// True if the current GPU is one of Hopper's and this build has code for it.
inline bool available() {
    static std::atomic<int8_t> known[64];  // 0: not asked yet
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    auto& answer = known[device & 63];
    if (answer == 0) {
        int major = 0, minor = 0;
        check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "asking for capability");
        check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "asking for capability");
        cudaFuncAttributes attributes = {};
        check(cudaFuncGetAttributes(&attributes, pieces_kernel<1>), "asking for a kernel");
        // not PTX of an older architecture, compiled by the driver
        answer = major == 9 && minor == 0 && attributes.ptxVersion >= 90 ? 1 : -1;
    }
    return answer > 0;
}

//                  left right frags cols groups turns span stages cluster
using Bits = Shape<0, 1, 2, 128, 2, true, 64, 8, 2>;
using Rounded = Shape<1, 1, 1, 256, 2, false, 64, 4, 2>;
using BitsFloat = Shape<0, 3, 1, 128, 2, false, 64, 4, 2>;
using Float = Shape<3, 3, 1, 128, 2, false, 32, 4, 2>;
using SmallBits = Shape<0, 1, 1, 64, 1, false, 64, 8, 1>;
using SmallRounded = Shape<1, 1, 1, 64, 1, false, 64, 6, 1>;
using SmallBitsFloat = Shape<0, 3, 1, 64, 1, false, 64, 4, 1>;
using SmallFloat = Shape<3, 3, 1, 64, 1, false, 32, 4, 1>;

// Large tiles where they keep most multiprocessors busy.
template <class Large, class Small, class Epilogue>
void start_either(const Operands& p, const Launch& launch, const Epilogue& epilogue) {
    constexpr int64_t kEnough = 96;
    if (Tiles<Large>(p.m, p.n).count() * Large::cluster >= kEnough)
        start<Large>(p, launch, epilogue);
    else
        start<Small>(p, launch, epilogue);
}

template <int kPieces, class LargeBits, class SmallBits, class Large, class Small, class Epilogue>
void multiply_pieces(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, const Launch& launch,
                     const Epilogue& epilogue) {
    LeftPieces left{m, k, a, nullptr};
    RightPieces right{k, n, static_cast<const float*>(b.data), b.is_panels, b.row_stride,
                      static_cast<const float*>(b.k_scale), nullptr};
    const bool ready = kPieces == 1 && b.is_panels;
    if (!a.bits)
        left.to = static_cast<uint16_t*>(launch.scratch(kLeftScratch, size_t(left.elements()) * kPieces * 2));
    if (!ready)
        right.to = static_cast<uint16_t*>(launch.scratch(kRightScratch, size_t(right.elements()) * kPieces * 2));
    if (left.to || right.to) make_pieces<kPieces>(left, right, launch);
    const Operands p{m,
                     n,
                     k,
                     left.to,
                     left.elements(),
                     left.depth(),
                     a.bits,
                     a.row_stride,
                     ready ? static_cast<const uint16_t*>(b.data) : right.to,
                     right.elements(),
                     ready ? padded_depth(DType::bf16, k) : k};
    if (a.bits)
        start_either<LargeBits, SmallBits>(p, launch, epilogue);
    else
        start_either<Large, Small>(p, launch, epilogue);
}

// Runs the epilogue on A (m x k) times b (k x n), if this is a product for this engine.
template <class Epilogue>
bool multiply(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, DType format, const Launch& launch,
              const Epilogue& epilogue) {
    if (k == 0 || a.indptr || b.is_fixed || !available()) return false;
    if (format == DType::bf16)
        multiply_pieces<1, Bits, SmallBits, Rounded, SmallRounded>(m, n, k, a, b, launch, epilogue);
    else
        multiply_pieces<3, BitsFloat, SmallBitsFloat, Float, SmallFloat>(m, n, k, a, b, launch, epilogue);
    return true;
}

}  // namespace unsupfast::cuda::hopper
