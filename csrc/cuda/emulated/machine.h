// The execution model of a GPU on the CPU: the threads of a cluster of blocks are fibers that run one at a time, each
// until it has to wait for another. Whatever hardware may do in any order is done in an order that a seed chooses
// (UNSUPFAST_EMULATED_SEED), and what is asynchronous as late as it may, or at once. Threads that wait for each other
// for ever are an error, as is whatever a rule of CUDA forbids and an instruction can see here.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/emulated/races.h"

namespace unsupfast::emulated {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

// Ends the launch with an error.
[[noreturn]] void fail(const std::string& what);

// Heads or tails, by the seed.
bool toss();

// Where a number of threads wait for each other, over and over.
struct Meeting {
    uint64_t round = 0;
    int here = 0;
    const char* what = nullptr;  // they came for
};

// One product of a warpgroup as one of its threads asked for it.
struct Product {
    int columns;
    float* sums;  // columns / 2
    uint64_t a, b;
    uint32_t fragment[4];  // of a, where that is not in shared memory
    bool a_in_registers, fresh, b_along_columns;
};

struct Warp {
    Meeting meeting;
    uint64_t shown[2][32];  // by lanes to each other, in even and odd rounds
    void* given[32][3];     // operands of mma
};

struct Cluster;

struct Block {
    Index index;
    Cluster* cluster = nullptr;
    int rank = 0;
    int live = 0;  // threads that have not ended
    Meeting meeting;
    std::vector<Warp> warps;
    std::vector<Meeting> groups;  // of four warps
    unsigned char* shared = nullptr;
};

struct Thread {
    Index index;
    Block* block = nullptr;
    int number = 0;  // in its block
    // it waits while (*word & mask) == value
    const uint64_t* word = nullptr;
    uint64_t mask = 0, value = 0;
    const char* what = nullptr;  // it waits for
    // wgmma: products not done yet, and the ends of groups of them
    std::vector<Product> products;
    std::vector<size_t> groups;

    int lane() const { return number % 32; }
    Warp& warp() const { return block->warps[size_t(number / 32)]; }
};

struct Cluster {
    std::vector<Block> blocks;
    Meeting meeting;
    int live = 0;
    std::vector<std::function<void()>> late;  // copies on their way
    char begun = 0, ended = 0;                // what its threads follow, and what follows them
};

extern Thread* current;  // the thread that runs

// The launch that runs.
struct Grid {
    Index blocks, threads;
    int cluster = 1;
    size_t shared = 0;  // dynamic, bytes of a block
};
extern Grid grid;

// Runs `kernel` in every thread. Returns what went wrong, or nothing.
std::string run(const Grid& grid, const std::function<void()>& kernel);

// The thread waits while (*word & mask) == value.
void wait_while(const uint64_t* word, uint64_t mask, uint64_t value, const char* what);

// Waits for all `count` threads; the last one to come does `work`, which all see done. Memory is ordered where
// `ordered`: what a thread wrote before, all see after.
template <bool ordered, class F>
USF_UNSEEN void meet(Meeting& meeting, int count, const char* what, F&& work) {
    if (meeting.here == 0) meeting.what = what;
    if (meeting.what != what && std::strcmp(meeting.what, what) != 0)
        fail(std::string("threads of a warp or block meet at different instructions: ") + meeting.what + " and " +
             what);
    const uint64_t round = meeting.round;
    if (ordered) release(&meeting);
    if (++meeting.here == count) {
        if (ordered) acquire(&meeting);
        work();
        if (ordered) release(&meeting);
        meeting.here = 0;
        ++meeting.round;
    } else {
        wait_while(&meeting.round, ~uint64_t(0), round, what);
        if (ordered) acquire(&meeting);
    }
}
inline void synchronise(Meeting& meeting, int count, const char* what) {
    meet<true>(meeting, count, what, [] {});
}

// Asynchronous work: at once, or when there is nothing else to do.
void later(std::function<void()> work);

// Shared memory as PTX names it. In a block an offset; of_block() names the same place of another block of the cluster.
constexpr size_t kReserved = 1024, kLargest = 227 * 1024;
uint32_t shared_address(const void* p);
uint32_t of_block(uint32_t address, uint32_t rank);
// `bytes` at an address, which must be a multiple of `align`.
void* at_address(uint32_t address, size_t bytes, size_t align);

}  // namespace unsupfast::emulated
