#include "parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace unsupfast {
namespace {

using Body = void (*)(void*, int64_t, int64_t);

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int available_processors() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1u, std::thread::hardware_concurrency());
}

// Every thread has its own contiguous share of a job, cut into pieces; a thread that is through with its
// own takes pieces of others. So a worker that the system does not schedule in time costs nothing: the
// caller does its share. Which thread runs a piece never changes a result.
//
// Workers wait for a job by spinning a little (half-steps follow each other within microseconds), then by
// sleeping.
class Pool {
  public:
    explicit Pool(int threads) : threads_(threads), shares_(new Share[size_t(threads)]) {
        for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
    }
    ~Pool() {
        stop_ = true;
        announce();
        for (auto& w : workers_) w.join();
    }
    int threads() const { return threads_; }

    void run(int64_t n, Body body, void* ctx) {
        body_ = body;
        ctx_ = ctx;
        for (int t = 0; t < threads_; ++t) {
            Share& s = shares_[size_t(t)];
            s.end = n * (t + 1) / threads_;
            const int64_t begin = n * t / threads_;
            s.piece = std::max<int64_t>(1, (s.end - begin) / kPieces);
            s.next.store(begin, std::memory_order_relaxed);
        }
        open_ = true;
        announce();
        participate(0);
        open_ = false;
        for (int spins = 0; active_ > 0; ++spins) spins < 4096 ? relax() : std::this_thread::yield();
    }

  private:
    static constexpr int64_t kPieces = 4;
    struct alignas(64) Share {
        std::atomic<int64_t> next{0};
        int64_t end = 0, piece = 1;
    };

    void announce() {
        {
            std::lock_guard lock(mutex_);
            generation_.fetch_add(1);
        }
        if (sleepers_ > 0) wake_.notify_all();
    }
    void participate(int self) {
        for (int t = 0; t < threads_; ++t) {
            Share& s = shares_[size_t((self + t) % threads_)];
            for (;;) {
                const int64_t begin = s.next.fetch_add(s.piece, std::memory_order_relaxed);
                if (begin >= s.end) break;
                body_(ctx_, begin, std::min(begin + s.piece, s.end));
            }
        }
    }
    void work(int self) {
        uint64_t seen = 0;
        for (;;) {
            for (int spins = 0; generation_ == seen && spins < 10000; ++spins) relax();
            if (generation_ == seen) {
                std::unique_lock lock(mutex_);
                ++sleepers_;
                wake_.wait(lock, [&] { return generation_ != seen; });
                --sleepers_;
            }
            seen = generation_;
            if (stop_) return;
            // Either this worker sees the job closed, or the caller sees it active and waits for it.
            ++active_;
            if (open_) participate(self);
            --active_;
        }
    }

    const int threads_;
    std::unique_ptr<Share[]> shares_;
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int> active_{0}, sleepers_{0};
    std::atomic<bool> open_{false}, stop_{false};
    Body body_ = nullptr;
    void* ctx_ = nullptr;
};

// All state behind one pointer: a forked child has none of the parent's threads and possibly a locked
// mutex, so it abandons the old state and starts afresh.
struct State {
    std::mutex busy;  // held while the pool runs; a second caller computes alone instead of waiting
    std::unique_ptr<Pool> pool;
    std::atomic<int> threads{available_processors()};
};

State*& state() {
    static State* s = [] {
        pthread_atfork(nullptr, nullptr, [] {
            const int threads = state()->threads;
            state() = new State;
            state()->threads = threads;
        });
        return new State;
    }();
    return s;
}

void parallel(int64_t n, Body body, void* ctx) {
    if (n <= 0) return;
    State& s = *state();
    const int threads = s.threads;
    std::unique_lock lock(s.busy, std::defer_lock);
    if (threads == 1 || n == 1 || !lock.try_lock()) return body(ctx, 0, n);
    if (!s.pool || s.pool->threads() != threads) {
        s.pool.reset();
        s.pool = std::make_unique<Pool>(threads);
    }
    s.pool->run(n, body, ctx);
}

struct Free {
    void operator()(void* p) const { std::free(p); }
};

// Buffers grow and are kept: a training loop allocates in its first step only.
void* scratch(int slot, size_t bytes) {
    struct Buffer {
        std::unique_ptr<void, Free> data;
        size_t bytes = 0;
    };
    thread_local std::vector<Buffer> buffers;
    if (size_t(slot) >= buffers.size()) buffers.resize(size_t(slot) + 1);
    Buffer& b = buffers[size_t(slot)];
    if (b.bytes < bytes) {
        b.data.reset();
        b.bytes = 0;
        const size_t rounded = (bytes + 4095) / 4096 * 4096;
        b.data.reset(std::aligned_alloc(4096, rounded));
        if (!b.data) throw std::bad_alloc();
        b.bytes = rounded;
    }
    return b.data.get();
}

}  // namespace

int num_threads() { return state()->threads; }
void set_num_threads(int n) { state()->threads = n > 0 ? n : available_processors(); }

const Launch& cpu_launch() {
    static const Launch launch{parallel, scratch, nullptr, num_threads};
    return launch;
}

}  // namespace unsupfast

// For threadpoolctl, which looks for these by name.
extern "C" {
__attribute__((visibility("default"))) int unsupfast_get_num_threads() { return unsupfast::num_threads(); }
__attribute__((visibility("default"))) void unsupfast_set_num_threads(int n) { unsupfast::set_num_threads(n); }
}
