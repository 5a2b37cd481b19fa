// Chains on Hopper: one kernel for all alternations. A cluster of blocks runs 64 chains. Its warpgroups share out the
// units of both layers, and each keeps its columns of both operands in shared memory. A half-step is a product on
// the tensor cores with the states, expanded from bits, as left operand in registers; the states drawn, 16 bits a
// chain and lane, go to all blocks of the cluster as stores that the receiving barrier counts. Nothing else is
// synchronised: a warpgroup can only draw a layer again once it has everybody's states of the other one, and these
// were sent after their senders had read the first.
//
// float32 weights are split into three bf16 pieces, whose products with zeros and ones are exact.
#include <algorithm>

#include "kernels/chain/half_step.cuh"

namespace unsupfast {
namespace cuda {
namespace chains {
namespace {

enum ChainScratch : int { kTileScratch = 6 };

template <bool kAnneal, int kPieces>
__global__ void __launch_bounds__(kThreads, 1) chain_kernel(const __grid_constant__ Chain p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    unsigned char* const memory = dynamic_shared();
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
}  // namespace chains
}  // namespace cuda

bool chain_fits_cuda(int64_t near, int64_t far, DType format) {
    return cuda::chains::is_hopper() && cuda::chains::cluster_for(near, far, format, 1, 1) > 0;
}

USF_KERNEL(cuda, GibbsChain) { cuda::chains::chain(p, launch); }

}  // namespace unsupfast
