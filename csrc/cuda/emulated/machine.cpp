#include "cuda/emulated/machine.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Keeps what a function has to preserve on the stack, the stack's pointer in *from, and goes on with the stack `to`.
extern "C" void usf_switch_stack(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl usf_switch_stack
.hidden usf_switch_stack
.type usf_switch_stack, @function
usf_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size usf_switch_stack, .-usf_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl usf_switch_stack
.hidden usf_switch_stack
.type usf_switch_stack, %function
usf_switch_stack:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size usf_switch_stack, .-usf_switch_stack
)");
#else
#error "the emulated GPU switches stacks on x86-64 and aarch64 only"
#endif

namespace unsupfast::emulated {

Thread* current = nullptr;
Grid grid;

namespace {

constexpr size_t kStack = 256 * 1024, kGuard = 4096;

struct Failure {
    std::string what;
};

uint64_t random_state = [] {
    const char* text = std::getenv("UNSUPFAST_EMULATED_SEED");
    return (text ? std::strtoull(text, nullptr, 10) : 0) * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
}();
uint64_t next_random() {  // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Du;
}
template <class T>
void shuffle(std::vector<T>& x) {
    for (size_t i = x.size(); i > 1; --i) std::swap(x[i - 1], x[next_random() % i]);
}

}  // namespace

// A stack on which threads run, one after the other until one has to wait.
struct Fiber {
    char* memory = nullptr;
    void* pointer = nullptr;
    Thread* thread = nullptr;  // that waits on it; null: free
    void* fake = nullptr;      // of AddressSanitizer
    void* seen = nullptr;      // by ThreadSanitizer
};

namespace {

struct Machine {
    const std::function<void()>* kernel = nullptr;
    Cluster cluster;
    std::vector<Thread> threads;
    std::vector<uint32_t> order;
    size_t next = 0;  // of order: the thread that starts next
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle, waiting, spent;
    Fiber* running = nullptr;
    std::string failure;
    void* pointer = nullptr;  // of the stack that schedules
    void* fake = nullptr;
    void* seen = nullptr;
    const void* bottom = nullptr;
    size_t size = 0;
    unsigned char* shared = nullptr;  // of a cluster's blocks
    size_t shared_blocks = 0;
};
Machine& machine() {
    static auto* m = new Machine;
    return *m;
}

void to_scheduler(Fiber& fiber) {
    Machine& m = machine();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fiber.fake, m.bottom, m.size);
#endif
#if defined(UNSUPFAST_RACES)
    __tsan_switch_to_fiber(m.seen, __tsan_switch_to_fiber_no_sync);
#endif
    usf_switch_stack(&fiber.pointer, m.pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake, &m.bottom, &m.size);
#endif
}

void resume(Fiber& fiber) {
    Machine& m = machine();
    m.running = &fiber;
    current = fiber.thread;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&m.fake, fiber.memory + kGuard, kStack);
#endif
#if defined(UNSUPFAST_RACES)
    __tsan_switch_to_fiber(fiber.seen, __tsan_switch_to_fiber_no_sync);
#endif
    usf_switch_stack(&m.pointer, fiber.pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(m.fake, nullptr, nullptr);
#endif
    current = nullptr;
}

// A thread that has ended counts as one that came to the block's barrier.
void end(const Thread& thread) {
    if (!thread.products.empty()) fail("a thread ended before its wgmma");
    Block& block = *thread.block;
    --block.live;
    --block.cluster->live;
    if (block.meeting.here && block.meeting.here == block.live) {
        block.meeting.here = 0;
        ++block.meeting.round;
    }
}

void run_threads() {
    Machine& m = machine();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &m.bottom, &m.size);
#endif
    for (;;) {
        Fiber& fiber = *m.running;
        while (m.next < m.order.size() && m.failure.empty()) {
            Thread& thread = m.threads[m.order[m.next++]];
            current = fiber.thread = &thread;
            acquire(&m.cluster.begun);
            try {
                (*m.kernel)();
                end(thread);
            } catch (const Failure& failure) {
                m.failure = failure.what;
            } catch (const std::exception& error) {
                m.failure = error.what();
            }
            release(&m.cluster.ended);
            if (kRaces) break;  // or it would be seen as the same thread as the next
        }
        fiber.thread = nullptr;
        to_scheduler(fiber);
    }
}

Fiber& fresh_fiber() {
    Machine& m = machine();
    if (!m.idle.empty()) {
        Fiber* fiber = m.idle.back();
        m.idle.pop_back();
        return *fiber;
    }
    auto fiber = std::make_unique<Fiber>();
    void* p =
        mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    mprotect(p, kGuard, PROT_NONE);
    fiber->memory = static_cast<char*>(p);
#if defined(UNSUPFAST_RACES)
    fiber->seen = __tsan_create_fiber(0);
#endif
    // as usf_switch_stack left it: registers, then where it returns to; a function starts with its stack at 16 n + 8
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(fiber->memory + kGuard + kStack - 64);
    top[6] = reinterpret_cast<void*>(&run_threads);
    top[7] = nullptr;
#else
    void** top = reinterpret_cast<void**>(fiber->memory + kGuard + kStack - 256);
    top[11] = reinterpret_cast<void*>(&run_threads);
#endif
    fiber->pointer = top;
    m.fibers.push_back(std::move(fiber));
    return *m.fibers.back();
}

// Runs all threads of a cluster.
void run_cluster(unsigned first_block) {
    Machine& m = machine();
    Cluster& cluster = m.cluster;
    const size_t each = grid.threads.x, blocks = size_t(grid.cluster), room = kReserved + kLargest;
    cluster.meeting = {};
    cluster.late.clear();
    cluster.late.reserve(4096);  // never more: threads would meet where it grows
    cluster.live = int(each * blocks);
    cluster.blocks.resize(blocks);
    if (m.shared_blocks < blocks) {
        std::free(m.shared);
        m.shared = static_cast<unsigned char*>(std::aligned_alloc(1024, room * blocks));
        m.shared_blocks = blocks;
    }
    m.threads.resize(each * blocks);
    m.order.resize(each * blocks);
    for (size_t b = 0; b < blocks; ++b) {
        Block& block = cluster.blocks[b];
        block.index = {first_block + unsigned(b), 0, 0};
        block.cluster = &cluster;
        block.rank = int(b);
        block.live = int(each);
        block.meeting = {};
        block.warps.assign((each + 31) / 32, {});
        block.groups.assign((each + 127) / 128, {});
        block.shared = m.shared + b * room;
        if (grid.shared) std::memset(block.shared, 0xff, room);  // NaN: what is read before it was written shows
        for (size_t t = 0; t < each; ++t) {
            Thread& thread = m.threads[b * each + t];
            thread.index = {unsigned(t), 0, 0};
            thread.block = &block;
            thread.number = int(t);
            thread.products.clear();
            thread.groups.clear();
            m.order[b * each + t] = uint32_t(b * each + t);
        }
    }
    shuffle(m.order);
    m.next = 0;
    release(&cluster.begun);
    while (cluster.live > 0) {
        bool moved = false;
        while (m.next < m.order.size() && m.failure.empty()) {
            Fiber& fiber = fresh_fiber();
            resume(fiber);
            (fiber.thread ? m.waiting : kRaces ? m.spent : m.idle).push_back(&fiber);
            moved = true;
        }
        const size_t count = m.waiting.size(), first = count ? next_random() % count : 0;
        bool some_ended = false;
        for (size_t i = 0; i < count && m.failure.empty(); ++i) {
            Fiber*& slot = m.waiting[(first + i) % count];
            Fiber& fiber = *slot;
            const Thread& t = *fiber.thread;
            if ((*t.word & t.mask) == t.value) continue;
            resume(fiber);
            moved = true;
            if (fiber.thread) continue;
            (kRaces ? m.spent : m.idle).push_back(&fiber);
            slot = nullptr;
            some_ended = true;
        }
        if (!m.failure.empty()) throw Failure{m.failure};
        if (some_ended) std::erase(m.waiting, nullptr);
        if (moved || cluster.live == 0) continue;
        if (cluster.late.empty()) {
            const Thread& t = *m.waiting.front()->thread;
            throw Failure{"threads wait for ever: " + std::to_string(m.waiting.size()) + " of them, thread " +
                          std::to_string(t.number) + " of block " + std::to_string(t.block->index.x) + " for " +
                          t.what};
        }
        const auto work = std::move(cluster.late.back());
        cluster.late.pop_back();
        acquire(&cluster.late);
        work();
    }
    acquire(&cluster.ended);
    m.idle.insert(m.idle.end(), m.spent.begin(), m.spent.end());
    m.spent.clear();
    if (!cluster.late.empty()) throw Failure{"blocks ended before their copies came"};
}

}  // namespace

void fail(const std::string& what) { throw Failure{what}; }
bool toss() { return next_random() >> 63; }

void wait_while(const uint64_t* word, uint64_t mask, uint64_t value, const char* what) {
    Thread& thread = *current;
    thread.word = word;
    thread.mask = mask;
    thread.value = value;
    thread.what = what;
    to_scheduler(*machine().running);
}

void later(std::function<void()> work) {
    Cluster& cluster = *current->block->cluster;
    if (toss() || cluster.late.size() == cluster.late.capacity()) return work();
    release(&cluster.late);
    cluster.late.push_back(std::move(work));
}

std::string run(const Grid& asked, const std::function<void()>& kernel) {
    Machine& m = machine();
    grid = asked;
#if defined(UNSUPFAST_RACES)
    m.seen = __tsan_get_current_fiber();
#endif
    m.kernel = &kernel;
    m.failure.clear();
    try {
        if (grid.blocks.x % unsigned(grid.cluster)) fail("the grid is no multiple of the cluster");
        for (unsigned first = 0; first < grid.blocks.x; first += unsigned(grid.cluster)) run_cluster(first);
    } catch (const Failure& failure) {
        // what waits is left as it is: stacks of threads of a GPU have nothing to destroy
        for (auto& fiber : m.fibers) {
            if (fiber) munmap(fiber->memory, kGuard + kStack);
        }
        m.fibers.clear();
        m.idle.clear();
        m.waiting.clear();
        m.spent.clear();
        return failure.what;
    }
    return {};
}

// ---------------------------------------------------------------- shared memory

uint32_t shared_address(const void* p) {
    const auto offset = static_cast<const unsigned char*>(p) - current->block->shared;
    if (offset < int64_t(kReserved) || offset >= int64_t(kReserved + grid.shared))
        fail("an address is not in the block's dynamic shared memory");
    return uint32_t(offset);
}

uint32_t of_block(uint32_t address, uint32_t rank) {
    if (rank >= current->block->cluster->blocks.size()) fail("the cluster has no block " + std::to_string(rank));
    return (address & 0xffffffu) | (rank + 1) << 24;
}

void* at_address(uint32_t address, size_t bytes, size_t align) {
    const uint32_t block = address >> 24, offset = address & 0xffffffu;
    if (offset < kReserved || offset + bytes > kReserved + grid.shared)
        fail("shared address " + std::to_string(offset) + " + " + std::to_string(bytes) + " is outside");
    if (offset % align) fail("shared address " + std::to_string(offset) + " is not aligned");
    Block& b = block ? current->block->cluster->blocks[block - 1] : *current->block;
    if (b.live == 0) fail("a block's shared memory is used after its end");
    return b.shared + offset;
}

}  // namespace unsupfast::emulated
