// The GEMM engine for Hopper (sm_90a), of products in bf16 and, through pieces of bf16, in float32.
//
// One warp copies the operands of a step of k to shared memory (bulk copies, a ring of stages); one or two
// groups of four warps multiply them with wgmma and hand the sums to the epilogue. A left operand of bits stays
// bits until it is in registers. Blocks live on and take one tile after the other, so that the next tile is
// copied while an epilogue runs. The blocks of a cluster have tiles above each other and share every copy of the
// right operand. Of small tiles there may be too few: then the blocks of a cluster have slices of k of the same
// tile, and sum each other's sums in order.
//
// Every sum is taken in an order that depends on m, n and k alone: two runs agree bitwise. For float32 the products of
// pieces are summed smallest first, and what a step sums is added with a rounding add: wgmma's own sums are truncated.
#pragma once
#include <algorithm>
#include <atomic>
#include <type_traits>

#include "cuda/hopper.h"
#include "kernels/gemm/operands.cuh"
#include "kernels/gemm/pieces.cuh"

namespace unsupfast::cuda::hopper {

template <int kLeft, int kRight, int kCols, int kGroups, int kSpan, int kStages, int kCluster>
struct Shape {
    static constexpr bool bits = kLeft == 0;                       // the left operand
    static constexpr int left = bits ? 1 : kLeft, right = kRight;  // pieces
    static constexpr int cols = kCols;                             // of a tile
    static constexpr int groups = kGroups;
    static constexpr int span = kSpan;  // of k in a stage
    static constexpr int stages = kStages;
    static constexpr int cluster = kCluster;

    static constexpr bool sliced = groups == 1;  // the blocks of a cluster may have slices of k
    static constexpr int rows = 64 * groups;     // of a tile
    static constexpr int threads = 128 * (groups + 1);
    static constexpr int steps = span / 16;
    // bytes
    static constexpr int left_block = 64 * span * (bits ? 1 : 16) / 8, left_piece = rows / 64 * left_block;
    static constexpr int right_panel = span * 64, right_piece = cols / 32 * right_panel;
    static constexpr int right_at = left * left_piece, stage = right_at + right * right_piece;
    static constexpr int kept_at = stages * stage, kept = 16 * 64 * 4;  // of a warp, for the epilogue
    static constexpr int barriers_at = kept_at + groups * 4 * kept;
    static constexpr int shared = barriers_at + (2 * stages + 4) * 8;
    static_assert(!sliced || (cluster == 1 && cols == 64));
    static_assert(shared <= 227 * 1024 && right_at % 512 == 0 && cols % 64 == 0 && span % (bits ? 64 : 32) == 0);
};

struct Operands {
    int64_t m, n, k;
    const char* left;              // pieces.cuh
    int64_t left_piece, left_row;  // bytes of a piece, of 64 rows
    const char* right;             // panels of right_depth rows
    int64_t right_piece, right_depth;
};

// Which pieces are multiplied, smallest products first.
template <class S>
struct Pairs {
    static constexpr int count = S::right == 1 ? 1 : S::bits ? 3 : 6;
    static USF_MAP int left(int i) {
        constexpr int all[6] = {0, 1, 2, 0, 1, 0};
        return count == 6 ? all[i] : 0;
    }
    static USF_MAP int right(int i) {
        constexpr int all[6] = {2, 1, 0, 1, 0, 0};
        return count == 6 ? all[i] : count - 1 - i;
    }
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

// What a block has to do: tiles first, first + stride, ..., and of each steps [begin, end) along k.
template <class S>
struct Share {
    int64_t first, stride;
    uint32_t rank = 0, slices = 1, begin = 0, end;
    __device__ explicit Share(const Operands& p) : end(uint32_t((p.k + S::span - 1) / S::span)) {
        const uint32_t blocks = S::sliced ? cluster_blocks() : S::cluster;
        if (blocks > 1) rank = cluster_rank();
        first = blockIdx.x / blocks;
        stride = gridDim.x / blocks;
        if constexpr (S::sliced) {
            slices = blocks;
            begin = end * rank / slices;
            end = end * (rank + 1) / slices;
        }
    }
    __device__ int row() const { return S::sliced ? 0 : int(rank) * S::rows; }  // of the block in its cluster's tile
};

template <class S>
struct Ring {
    unsigned char* data;
    uint64_t *full, *empty;
    __device__ explicit Ring(unsigned char* shared)
        : data(shared), full(reinterpret_cast<uint64_t*>(shared + S::barriers_at)), empty(full + S::stages) {}

    // one thread
    __device__ void open() const {
        for (int s = 0; s < S::stages; ++s) {
            barrier_init(full + s, 1);
            barrier_init(empty + s, 4 * S::groups * S::cluster);
        }
    }

    __device__ unsigned char* stage(uint32_t step) const { return data + step % S::stages * S::stage; }
    __device__ void wait_full(uint32_t step) const { barrier_wait(full + step % S::stages, step / S::stages & 1); }
    __device__ void wait_empty(uint32_t step) const {
        barrier_wait(empty + step % S::stages, (step / S::stages & 1) ^ 1);
    }
    __device__ void release(uint32_t step) const {
        if (threadIdx.x % 32 != 0) return;
        if constexpr (S::cluster == 1)
            barrier_arrive(empty + step % S::stages);
        else
            for (int block = 0; block < S::cluster; ++block) barrier_arrive(empty + step % S::stages, block);
    }
};

// Rows past the end of the right operand are multiplied by zeros: they must not hold the NaN of memory that nothing
// has been copied to yet, in the stages that a last step may be the first to fill. All threads.
template <class S>
__device__ void clear_tails(const Operands& p, unsigned char* shared) {
    const int rest = int(p.right_depth % S::span);
    if (rest == 0) return;
    const Share<S> share(p);
    const int chunks = int(share.end - share.begin), words = (S::span - rest) * 4;
    constexpr int kPanels = S::right * S::cols / 32;
    for (int stage = chunks - 1; stage < S::stages; stage += chunks)
        for (int i = int(threadIdx.x); i < kPanels * words; i += S::threads) {
            unsigned char* at = shared + stage * S::stage + S::right_at + i / words * S::right_panel;
            reinterpret_cast<uint4*>(at + rest * 64)[i % words] = make_uint4(0, 0, 0, 0);
        }
    fence_for_copies();
}

// What one warp copies: each lane one part of every stage, 64 rows of the left operand or a panel of the right one.
template <class S>
__device__ void copy_operands(const Operands& p, const Tiles<S>& tiles, const Ring<S>& ring) {
    constexpr int kBlocks = S::rows / 64, kPanels = S::cols / 32, kMine = kPanels / S::cluster;
    static_assert(S::left * kBlocks + S::right * kMine <= 32);
    const Share<S> share(p);
    const int lane = int(threadIdx.x) % 32, rank = S::sliced ? 0 : int(share.rank);
    const bool is_left = lane < S::left * kBlocks;
    const int part = is_left ? lane : lane - S::left * kBlocks, piece = part / (is_left ? kBlocks : kMine);
    const int in_piece = is_left ? part % kBlocks : part % kMine * S::cluster + rank;
    const int to = is_left ? piece * S::left_piece + in_piece * S::left_block
                           : S::right_at + piece * S::right_piece + in_piece * S::right_panel;
    uint32_t step = 0;
    for (int64_t t = share.first; t < tiles.count(); t += share.stride) {
        int64_t row, col;
        tiles.place(t, row, col);
        const int64_t block = row / 64 + rank * kBlocks, panel = col / kPanel;
        const int blocks = int(max(int64_t(0), min((p.m + 63) / 64 - block, int64_t(kBlocks))));
        const int panels = int(min(panel_count(p.n) - panel, int64_t(kPanels)));
        const bool mine = is_left ? in_piece < blocks : piece < S::right && in_piece < panels;
        const char* from = is_left ? p.left + piece * p.left_piece + (block + in_piece) * p.left_row
                                   : p.right + piece * p.right_piece + (panel + in_piece) * p.right_depth * 64;
        const int advance = is_left ? S::left_block : S::right_panel;
        from += share.begin * int64_t(advance);
        for (uint32_t c = share.begin; c < share.end; ++c, ++step, from += advance) {
            const int64_t k = c * int64_t(S::span);
            const uint32_t rows = uint32_t(min(p.right_depth - k, int64_t(S::span)));
            const uint32_t bytes = is_left ? S::left_block : rows * 64;
            uint64_t* full = ring.full + step % S::stages;
            ring.wait_empty(step);
            if (lane == 0) barrier_expect(full, S::left * blocks * S::left_block + S::right * panels * rows * 64);
            __syncwarp();
            if (mine && (S::cluster == 1 || is_left))
                bulk_copy(ring.stage(step) + to, from, bytes, full);
            else if (mine)
                bulk_copy(ring.stage(step) + to, from, bytes, full, uint16_t((1 << S::cluster) - 1));
        }
    }
}

// The fragments of a left operand of bits: a thread's word of a block (pieces.cuh) holds, in bits 2 s and 2 s + 1
// of byte r, the two values of register r of step s. A set bit becomes a 2, whose bfloat16 is one byte and a byte
// of zeros: a byte permutation makes a register, while 1 would take a multiplication more.
template <class S>
struct BitFragments {
    uint32_t a[S::steps][4];

    // 0, byte of even, 0, byte of odd; 8 is the sign of the first byte, which has none
    template <int kByte>
    static __device__ uint32_t pair(uint32_t even, uint32_t odd) {
        return permute_bytes<0x4808 + (kByte << 12) + (kByte << 4)>(even, odd);
    }
    __device__ __forceinline__ void load(const unsigned char* stage, int group) {
        const uint32_t bits = reinterpret_cast<const uint32_t*>(stage + group * S::left_block)[threadIdx.x % 128];
#pragma unroll
        for (int s = 0; s < S::steps; ++s) {
            const uint32_t even = bits << (6 - 2 * s) & 0x40404040u;
            const uint32_t odd = (s < 3 ? bits << ((5 - 2 * s) & 7) : bits >> 1) & 0x40404040u;
            a[s][0] = pair<0>(even, odd);
            a[s][1] = pair<1>(even, odd);
            a[s][2] = pair<2>(even, odd);
            a[s][3] = pair<3>(even, odd);
        }
    }
};

// Where the same warps of all slices wait for each other: for sums to be there, and for them to have been read.
struct Slices {
    uint64_t* barrier;  // of the warp
    uint32_t phase = 0;
    template <class S>
    __device__ void meet(const Share<S>& share) {
        if (!S::sliced || share.slices == 1) return;
        __syncwarp();
        const uint32_t lane = threadIdx.x % 32;
        if (lane < share.slices) barrier_arrive_with_writes(barrier, lane);
        barrier_wait_for_writes(barrier, phase & 1);
        ++phase;
    }
};

// The sums of a group's part of a tile.
template <class S>
struct Sums {
    static constexpr bool kPromote = S::right > 1;
    static constexpr int kFragments = S::cols / 2;
    float sum[kFragments];

    // The products of one stage for group `group`. `a`: the fragments of bits.
    template <class A>
    static __device__ __forceinline__ void issue(float (&d)[kFragments], unsigned char* stage, int group, const A& a,
                                                 bool fresh) {
        const uint64_t right = operand(shared_address(stage + S::right_at), S::right_panel);
        const uint64_t left = operand(shared_address(stage + group * S::left_block));
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < Pairs<S>::count; ++i)
#pragma unroll
            for (int s = 0; s < S::steps; ++s) {
                const bool begin = fresh && i == 0 && s == 0;
                const uint64_t b = right + (Pairs<S>::right(i) * S::right_piece + s * 16 * 64) / 16;
                if constexpr (S::bits)
                    Wgmma<S::cols>::run(d, a.a[s], b, begin);
                else
                    Wgmma<S::cols>::run(d, left + (Pairs<S>::left(i) * S::left_piece + s / 2 * 4096 + s % 2 * 32) / 16,
                                        b, begin);
            }
        wgmma_commit();
    }

    __device__ __forceinline__ void multiply(const Ring<S>& ring, uint32_t step, uint32_t chunks, int group) {
        const auto load = [&](uint32_t c, auto& a) {
            ring.wait_full(step + c);
            if constexpr (S::bits) a.load(ring.stage(step + c), group);
        };
        std::conditional_t<S::bits, BitFragments<S>, int> a[2];
        if constexpr (kPromote) {
            float part[kFragments];
#pragma unroll
            for (int i = 0; i < kFragments; ++i) sum[i] = 0;
            for (uint32_t c = 0; c < chunks; ++c) {
                load(c, a[0]);
                issue(part, ring.stage(step + c), group, a[0], true);
                wgmma_wait<0>();
                ring.release(step + c);
#pragma unroll
                for (int i = 0; i < kFragments; ++i) sum[i] += part[i];
            }
            return;
        }
        // One step is multiplied while the one before ends: then its stage and its registers are free.
        const auto run = [&](uint32_t c, auto& now) {
            load(c, now);
            issue(sum, ring.stage(step + c), group, now, c == 0);
            wgmma_wait<1>();
            if (c > 0) ring.release(step + c - 1);
        };
        for (uint32_t c = 0;;) {
            run(c, a[0]);
            if (++c == chunks) break;
            run(c, a[1]);
            if (++c == chunks) break;
        }
        wgmma_wait<0>();
        ring.release(step + chunks - 1);
    }

    // Through shared memory, 16 rows of 64 columns a warp at a time: there a thread finds the four columns that
    // an epilogue wants, and eight neighbours have the 32 columns of a panel's row.
    template <class Epilogue>
    __device__ __forceinline__ void finish(const Operands& p, int64_t row, int64_t col, float* kept,
                                           const Share<S>& share, Slices& slices, const Epilogue& epilogue) const {
        constexpr int kRounds = S::cols / 64;
        const int warp = int(threadIdx.x) / 32 % 4, lane = int(threadIdx.x) % 32;
        const auto at = [&](int r, int c) -> float& { return kept[r * 64 + (c ^ r % 4 * 8)]; };
#pragma unroll 1
        for (int round = 0; round < kRounds; ++round) {
            __syncwarp();
#pragma unroll
            for (int q = 0; q < kRounds; ++q)
                if (q == round)
#pragma unroll
                    for (int i = 0; i < 16; ++i) {
                        const float* d = sum + q * 32 + 2 * i;
                        *reinterpret_cast<float2*>(&at(lane / 4 + i % 2 * 8, i / 2 * 8 + lane % 4 * 2)) =
                            make_float2(d[0], d[1]);
                    }
            __syncwarp();
            slices.meet(share);
            const int64_t row0 = row + warp * 16 + lane / 8;
            const int64_t panel0 = (col + round * 64) / kPanel;
            const int b = lane % 8, begin = S::sliced ? 8 * share.rank / share.slices : 0;
            const int end = S::sliced ? 8 * (share.rank + 1) / share.slices : 8;
            const auto load = [&](int i) {
                using Loaded = decltype(load_for(epilogue, row0, panel0, b));
                const int64_t r = row0 + i % 4 * 4, panel = panel0 + i / 4;
                return i < end && r < p.m && panel < panel_count(p.n) ? load_for(epilogue, r, panel, b) : Loaded{};
            };
            auto now = load(begin), next = load(begin + 1);
#pragma unroll 1
            for (int i = begin; i < end; ++i) {
                const auto after = load(i + 2);
                const int64_t r = row0 + i % 4 * 4, panel = panel0 + i / 4;
                float sums[4];
#pragma unroll
                for (int w = 0; w < 4; ++w) {
                    const float& mine = at(i % 4 * 4 + lane / 8, i / 4 * 32 + column_of(b, w));
                    sums[w] = share.slices == 1 ? mine : 0.f;
                    if (share.slices > 1)
                        for (uint32_t s = 0; s < share.slices; ++s) sums[w] += load_from(&mine, s);
                    if (S::bits) sums[w] *= 0.5f;
                }
                const bool inside = r < p.m && panel < panel_count(p.n);
                RowEnd<float> row_end;
                if (inside) row_end.add(epilogue, r, panel, b, sums, now);
                row_end.template finish<8>(epilogue, r, panel, inside && b == 0);
                now = next;
                next = after;
            }
            slices.meet(share);
        }
    }
};

template <class S, class Epilogue>
__device__ __forceinline__ void run(const Operands& p, const Epilogue& epilogue) {
    unsigned char* const shared = dynamic_shared();
    const Ring<S> ring(shared);
    uint64_t* meetings = ring.empty + S::stages;
    if (threadIdx.x == 0) {
        ring.open();
        if constexpr (S::sliced)
            for (int w = 0; w < 4; ++w) barrier_init(meetings + w, int(cluster_blocks()));
        barrier_init_fence();
    }
    clear_tails<S>(p, shared);
    if (S::cluster > 1 || S::sliced)
        cluster_barrier();
    else
        __syncthreads();
    let_next_grid_start();
    wait_for_grid();
    const Tiles<S> tiles(p.m, p.n);
    const int group = int(threadIdx.x) / 128 - 1;
    if (group < 0) {
        if constexpr (S::groups > 1) give_registers<40>();
        if (threadIdx.x < 32) copy_operands<S>(p, tiles, ring);
    } else {
        if constexpr (S::groups > 1) take_registers<232>();
        const Share<S> share(p);
        const uint32_t chunks = share.end - share.begin;
        Slices slices{meetings + threadIdx.x / 32 % 4};
        float* kept = reinterpret_cast<float*>(shared + S::kept_at + (threadIdx.x / 32 - 4) * S::kept);
        uint32_t step = 0;
        for (int64_t t = share.first; t < tiles.count(); t += share.stride, step += chunks) {
            int64_t row, col;
            tiles.place(t, row, col);
            Sums<S> sums;
            sums.multiply(ring, step, chunks, group);
            sums.finish(p, row + share.row() + group * 64, col, kept, share, slices, epilogue);
        }
    }
    // a block's shared memory is written and its barriers are arrived on by its neighbours until they end too
    if (S::cluster > 1 || S::sliced) {
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

// Slices of k for products of few tiles and much work in each: what is saved has to outweigh the microseconds that
// meeting takes, the more so where two blocks share one of a large GPU's 132 multiprocessors. Measured on an H200.
template <class S>
int slices_of(const Operands& p) {
    const int64_t tiles = Tiles<S>(p.m, p.n).count(), work = (p.k + 15) / 16 * Pairs<S>::count;
    int slices = 1;
    while (slices < 8 && tiles * slices * 2 <= 264 && work > slices * (tiles * slices * 2 <= 132 ? 100 : 250))
        slices *= 2;
    return slices;
}

template <class S, class Epilogue>
void start(const Operands& p, const Launch& launch, const Epilogue& epilogue) {
    static std::atomic<int> resident[64][9];  // clusters of a size that a GPU runs at the same time; 0: not asked yet
    auto* kernel = hopper_kernel<S, Epilogue>;
    const int blocks = S::sliced ? slices_of<S>(p) : S::cluster;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(blocks));
    config.blockDim = dim3(S::threads);
    config.dynamicSmemBytes = S::shared;
    config.stream = static_cast<cudaStream_t>(launch.stream);
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = unsigned(blocks);
    attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    config.attrs = attributes;
    config.numAttrs = 1;
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    auto& clusters = resident[device & 63][blocks];
    if (clusters == 0) {
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::shared),
              "asking for shared memory");
        int count = 0;
        check(cudaOccupancyMaxActiveClusters(&count, kernel, &config), "asking for occupancy");
        clusters = std::max(count, 1);
    }
    config.gridDim = dim3(unsigned(std::min(Tiles<S>(p.m, p.n).count(), int64_t(clusters)) * blocks));
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

//                           left right cols groups span stages cluster
using Bits = Shape<0, 1, 256, 2, 64, 5, 2>;
using Rounded = Shape<1, 1, 256, 2, 64, 4, 2>;
using BitsFloat = Shape<0, 3, 128, 2, 64, 3, 2>;
using Float = Shape<3, 3, 128, 2, 32, 4, 2>;
// two blocks a multiprocessor
using SmallBits = Shape<0, 1, 64, 1, 64, 8, 1>;
using SmallRounded = Shape<1, 1, 64, 1, 64, 6, 1>;
using SmallBitsFloat = Shape<0, 3, 64, 1, 64, 3, 1>;
using SmallFloat = Shape<3, 3, 64, 1, 32, 4, 1>;

// Large tiles where they keep most multiprocessors busy.
template <class Large, class Small, class Epilogue>
void start_either(const Operands& p, const Launch& launch, const Epilogue& epilogue) {
    constexpr int64_t kEnough = 96;
    if (Tiles<Large>(p.m, p.n).count() * Large::cluster >= kEnough)
        start<Large>(p, launch, epilogue);
    else
        start<Small>(p, launch, epilogue);
}

template <Lefts kLefts, int kPieces, class LargeBits, class SmallBits, class Large, class Small, class Epilogue>
void multiply_pieces(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, const Launch& launch,
                     const Epilogue& epilogue) {
    const bool ready = kPieces == 1 && b.is_panels;
    LeftPieces left{m, k, a, nullptr};
    left.to = static_cast<char*>(launch.scratch(kLeftScratch, size_t(left.bytes() * (a.bits ? 1 : kPieces))));
    RightPieces right{
        k,      n, static_cast<const float*>(b.data), b.is_panels, b.row_stride, static_cast<const float*>(b.k_scale),
        nullptr};
    if (!ready) right.to = static_cast<char*>(launch.scratch(kRightScratch, size_t(right.bytes() * kPieces)));
    make_pieces<kPieces>(left, right, launch);
    const Operands p{m,
                     n,
                     k,
                     left.to,
                     left.bytes(),
                     left.row_bytes(),
                     ready ? static_cast<const char*>(b.data) : right.to,
                     right.bytes(),
                     ready ? padded_depth(DType::bf16, k) : k};
    if constexpr (kLefts == Lefts::any)
        if (a.bits) return start_either<LargeBits, SmallBits>(p, launch, epilogue);
    start_either<Large, Small>(p, launch, epilogue);
}

// Runs the epilogue on A (m x k) times b (k x n), if this is a product for this engine.
template <Lefts kLefts, class Epilogue>
bool multiply(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, DType format, const Launch& launch,
              const Epilogue& epilogue) {
    if (k == 0 || a.indptr || a.patches.height || b.is_fixed || !available()) return false;
    if (format == DType::bf16)
        multiply_pieces<kLefts, 1, Bits, SmallBits, Rounded, SmallRounded>(m, n, k, a, b, launch, epilogue);
    else
        multiply_pieces<kLefts, 3, BitsFloat, SmallBitsFloat, Float, SmallFloat>(m, n, k, a, b, launch, epilogue);
    return true;
}

}  // namespace unsupfast::cuda::hopper
