#include "cuda/emulated/machine.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "cuda/emulated/stack.h"

namespace unsupfast::emulated {

Thread* current = nullptr;
Grid grid;

namespace {

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

// A stack on which threads run, one after the other until one has to wait.
struct Fiber {
    explicit Fiber(void (*entry)()) : stack(entry) {}
    Stack stack;
    Thread* thread = nullptr;  // that waits on it; null: free
};

struct Machine {
    const std::function<void()>* kernel = nullptr;
    Cluster cluster;
    std::vector<Thread> threads;
    std::vector<uint32_t> order;
    size_t next = 0;  // of order: the thread that starts next
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle, waiting;
    std::vector<Fiber*> spent;  // not to be used again by this cluster
    Fiber* running = nullptr;
    Stack* scheduler = nullptr;
    std::string failure;
    unsigned char* shared = nullptr;  // of a cluster's blocks
    size_t shared_blocks = 0;
};
Machine& machine() {
    static auto* m = new Machine;
    return *m;
}

void resume(Fiber& fiber) {
    Machine& m = machine();
    m.running = &fiber;
    current = fiber.thread;
    m.scheduler->switch_to(fiber.stack);
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
    Stack::arrive();
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
        fiber.stack.switch_to(*m.scheduler);
    }
}

// A fiber that is free, from now on or until the next cluster: ThreadSanitizer takes what runs on it for one thread.
void free_fiber(Fiber& fiber) {
    Machine& m = machine();
    (kRaces ? m.spent : m.idle).push_back(&fiber);
}

void set_up_cluster(unsigned first_block) {
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
}

void start_threads() {
    Machine& m = machine();
    while (m.next < m.order.size() && m.failure.empty()) {
        if (m.idle.empty()) {
            m.fibers.push_back(std::make_unique<Fiber>(run_threads));
            m.idle.push_back(m.fibers.back().get());
        }
        Fiber& fiber = *m.idle.back();
        m.idle.pop_back();
        resume(fiber);
        if (fiber.thread)
            m.waiting.push_back(&fiber);
        else
            free_fiber(fiber);
    }
}

// Those that need not wait any more go on, until they have to again. False if there was none.
bool resume_threads() {
    Machine& m = machine();
    const size_t count = m.waiting.size(), first = count ? next_random() % count : 0;
    bool moved = false, some_ended = false;
    for (size_t i = 0; i < count && m.failure.empty(); ++i) {
        Fiber*& slot = m.waiting[(first + i) % count];
        Fiber& fiber = *slot;
        const Thread& t = *fiber.thread;
        if ((*t.word & t.mask) == t.value) continue;
        resume(fiber);
        moved = true;
        if (fiber.thread) continue;
        free_fiber(fiber);
        slot = nullptr;
        some_ended = true;
    }
    if (some_ended) std::erase(m.waiting, nullptr);
    return moved;
}

void run_cluster(unsigned first_block) {
    Machine& m = machine();
    Cluster& cluster = m.cluster;
    set_up_cluster(first_block);
    release(&cluster.begun);
    start_threads();
    while (cluster.live > 0 && m.failure.empty()) {
        if (resume_threads()) continue;
        if (cluster.late.empty()) {
            const Thread& t = *m.waiting.front()->thread;
            fail("threads wait for ever: " + std::to_string(m.waiting.size()) + " of them, thread " +
                 std::to_string(t.number) + " of block " + std::to_string(t.block->index.x) + " for " + t.what);
        }
        const auto work = std::move(cluster.late.back());
        cluster.late.pop_back();
        acquire(&cluster.late);
        work();
    }
    if (!m.failure.empty()) fail(m.failure);
    if (!cluster.late.empty()) fail("blocks ended before their copies came");
    acquire(&cluster.ended);
    m.idle.insert(m.idle.end(), m.spent.begin(), m.spent.end());
    m.spent.clear();
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
    machine().running->stack.switch_to(*machine().scheduler);
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
    Stack scheduler;
    m.scheduler = &scheduler;
    m.kernel = &kernel;
    m.failure.clear();
    try {
        if (grid.blocks.x % unsigned(grid.cluster)) fail("the grid is no multiple of the cluster");
        for (unsigned first = 0; first < grid.blocks.x; first += unsigned(grid.cluster)) run_cluster(first);
    } catch (const Failure& failure) {
        // what waits is left as it is: threads of a GPU have nothing to destroy
        m.idle.clear();
        m.waiting.clear();
        m.spent.clear();
        m.fibers.clear();
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
