// Instructions of Hopper (sm_90a) that C++ has no words for: barriers in shared memory that count bytes, bulk
// copies that arrive on them, and wgmma. What calls them is compiled for Hopper alone.
#pragma once
#include <cstdint>

#include "cuda/descriptors.h"

namespace unsupfast::cuda {

// Shared memory as PTX names it: an offset. Barriers and targets of copies may be named so.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// What a launch asked for besides what kernels declare.
__device__ __forceinline__ unsigned char* dynamic_shared() {
    extern __shared__ __align__(1024) unsigned char memory[];
    return memory;
}

// ---------------------------------------------------------------- clusters

__device__ __forceinline__ uint32_t cluster_rank() {
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ uint32_t cluster_blocks() {
    uint32_t blocks;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
}

__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

// ---------------------------------------------------------------- grids

// The next kernel of the stream may start where there is room; it waits for the end of this one by itself, with
// wait_for_grid() before it reads or writes memory.
__device__ __forceinline__ void let_next_grid_start() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
__device__ __forceinline__ void wait_for_grid() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// ---------------------------------------------------------------- barriers

__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_init(uint64_t* barrier, int arrivals) {
    barrier_init(shared_address(barrier), arrivals);
}

// Makes fresh barriers known to the cluster and to the copy engine.
__device__ __forceinline__ void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Waits until the phase of this parity is over.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\n"
        "again:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(
            shared_address(barrier)),
        "r"(parity)
        : "memory");
}

// Arrives, and announces how many bytes will come.
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, uint32_t bytes) {
    barrier_expect(shared_address(barrier), bytes);
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives on the same barrier of block `rank` of the cluster. Not with .release.cluster, which waits for all
// that the thread has written to memory: what is released here are reads.
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier, uint32_t rank) {
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(barrier)),
        "r"(rank)
        : "memory");
}

// The same with what this thread, and its warp before it, has written to shared memory; and a wait that sees it.
__device__ __forceinline__ void barrier_arrive_with_writes(uint64_t* barrier, uint32_t rank) {
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(barrier)),
        "r"(rank)
        : "memory");
}
__device__ __forceinline__ void barrier_wait_for_writes(uint64_t* barrier, uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\n"
        "again:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(
            shared_address(barrier)),
        "r"(parity)
        : "memory");
}

// The float at the same place of block `rank`.
__device__ __forceinline__ float load_from(const float* p, uint32_t rank) {
    float x;
    asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %1, %2;\nld.shared::cluster.f32 %0, [there];\n}"
                 : "=f"(x)
                 : "r"(shared_address(p)), "r"(rank)
                 : "memory");
    return x;
}

// ---------------------------------------------------------------- bulk copies

// `bytes` (a multiple of 16) from global to shared memory; they count on the barrier. With a mask of several
// blocks, to the same place of each of them, and each one's own barrier.
__device__ __forceinline__ void bulk_copy(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}
__device__ __forceinline__ void bulk_copy(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
    bulk_copy(shared_address(to), from, bytes, shared_address(barrier));
}

__device__ __forceinline__ void bulk_copy(void* to, const void* from, uint32_t bytes, uint64_t* barrier,
                                          uint16_t blocks) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
        "%4;" ::"r"(shared_address(to)),
        "l"(from), "r"(bytes), "r"(shared_address(barrier)), "h"(blocks)
        : "memory");
}

// What threads wrote to shared memory before is seen by copies and by wgmma after.
__device__ __forceinline__ void fence_for_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---------------------------------------------------------------- registers

template <int kCount>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

// A register of bytes of two: __byte_perm that the compiler leaves where it stands. Elsewhere it would move it between
// the wgmmas of a step and make them wait for each other.
template <int kSelector>
__device__ __forceinline__ uint32_t permute_bytes(uint32_t low, uint32_t high) {
    uint32_t x;
    asm volatile("prmt.b32 %0, %1, %2, %3;" : "=r"(x) : "r"(low), "r"(high), "n"(kSelector));
    return x;
}

// ---------------------------------------------------------------- wgmma

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kLeft>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// sum (64 x kCols, the fragments of a warpgroup) = a b, + sum unless `fresh`. a: 64 x 16 along k; b: 16 x kCols,
// rows of 32 columns. Defined for 64, 128 and 256 columns, with a in shared memory or in registers.
template <int kCols>
struct Wgmma;

// clang-format off
#define USF_R32 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
    "%26,%27,%28,%29,%30,%31"
#define USF_R64 USF_R32 \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56" \
    ",%57,%58,%59,%60,%61,%62,%63"
#define USF_R128 USF_R64 \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88" \
    ",%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110" \
    ",%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
// clang-format on
#define USF_D8(i)                                                                                               \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
        "+f"(d[i + 7])
#define USF_D32(i) USF_D8(i), USF_D8(i + 8), USF_D8(i + 16), USF_D8(i + 24)
#define USF_D64(i) USF_D32(i), USF_D32(i + 32)
#define USF_D128(i) USF_D64(i), USF_D64(i + 64)
#define USF_WGMMA(cols, list, sums, p0, p1, p2, p3, p4, p5)                                                            \
    template <>                                                                                                        \
    struct Wgmma<cols> {                                                                                               \
        static __device__ __forceinline__ void run(float (&d)[cols / 2], uint64_t a, uint64_t b, bool fresh) {         \
            asm volatile("{\n.reg .pred add;\nsetp.eq.b32 add, " p2                                                    \
                         ", 0;\n"                                                                                      \
                         "wgmma.mma_async.sync.aligned.m64n" #cols "k16.f32.bf16.bf16 " list "}, " p0 ", " p1          \
                         ", add, 1, 1, 0, 1;\n}"                                                                       \
                         : sums(0)                                                                                     \
                         : "l"(a), "l"(b), "r"(int(fresh)));                                                           \
        }                                                                                                              \
        static __device__ __forceinline__ void run(float (&d)[cols / 2], const uint32_t (&a)[4], uint64_t b,           \
                                                   bool fresh) {                                                       \
            asm volatile("{\n.reg .pred add;\nsetp.eq.b32 add, " p5                                                    \
                         ", 0;\n"                                                                                      \
                         "wgmma.mma_async.sync.aligned.m64n" #cols "k16.f32.bf16.bf16 " list "}, {" p0 ", " p1 ", " p2 \
                         ", " p3 "}, " p4 ", add, 1, 1, 1;\n}"                                                         \
                         : sums(0)                                                                                     \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(fresh)));                       \
        }                                                                                                              \
    };
USF_WGMMA(64, USF_R32, USF_D32, "%32", "%33", "%34", "%35", "%36", "%37")
USF_WGMMA(128, USF_R64, USF_D64, "%64", "%65", "%66", "%67", "%68", "%69")
USF_WGMMA(256, USF_R128, USF_D128, "%128", "%129", "%130", "%131", "%132", "%133")
#undef USF_WGMMA
#undef USF_D128
#undef USF_D64
#undef USF_D32
#undef USF_D8
#undef USF_R128
#undef USF_R64
#undef USF_R32

}  // namespace unsupfast::cuda
