// A GPU played by the CPU, for tests where there is none (-DUNSUPFAST_SIMULATED_GPU=ON): kernels are those of the CPU,
// and its memory can be touched by kernels and copies alone, so that a host loop over it fails at once.
#include <sys/mman.h>

#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <vector>

#include "cuda/feed.h"
#include "cuda/runtime.h"
#include "cuda/simulated.h"
#include "parallel.h"

namespace unsupfast::cuda {

struct Graph::Recording {
    std::vector<std::function<void()>> work;
    std::vector<void*> released;  // of the graph's memory, by those who asked for it
};

// The graph that this thread records.
struct Recorder {
    using Recording = Graph::Recording;
    static inline thread_local Recording* now = nullptr;
};

namespace {

constexpr size_t kArena = size_t(8) << 30;  // reserved, not used

// Freed blocks are kept by size. One mutex, and one count of those who may touch the memory.
struct Arena {
    char* base = nullptr;
    size_t used = 0;
    std::map<size_t, std::vector<void*>> free;
    std::map<void*, size_t> size;
    std::map<void*, Recorder::Recording*> graph;  // whose memory nobody else has while it is there
    int open = 0;
    std::recursive_mutex mutex;

    Arena() {
        void* p = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) throw std::bad_alloc();
        base = static_cast<char*>(p);
    }
    void protect(int mode) const {
        if (used && mprotect(base, used, mode)) throw std::runtime_error("mprotect");
    }
};
Arena& arena() {
    static Arena* a = new Arena;
    return *a;
}

// Opens the memory, which the host must not touch otherwise.
class KernelScope {
  public:
    explicit KernelScope(int device) {
        if (device != 0) throw std::runtime_error("CUDA: there is no GPU " + std::to_string(device));
        arena().mutex.lock();
        if (arena().open++ == 0) arena().protect(PROT_READ | PROT_WRITE);
    }
    ~KernelScope() {
        if (--arena().open == 0) arena().protect(PROT_NONE);
        arena().mutex.unlock();
    }
    KernelScope(const KernelScope&) = delete;
    KernelScope& operator=(const KernelScope&) = delete;
};

}  // namespace

void refuse_to_record(int, const char* what) {
    if (Recorder::now) throw std::runtime_error(std::string("CUDA: ") + what + " can't be recorded in a graph");
}

void simulate(int device, std::function<void()> work) {
    if (Recorder::now) return Recorder::now->work.push_back(std::move(work));
    const KernelScope scope(device);
    work();
}

int device_count(std::string*) { return 1; }
GpuInfo device_info(int device) {
    GpuInfo info;
    info.name = "simulated GPU";
    info.major = 9;
    info.multiprocessors = 1;
    info.memory = kArena;
    if (device != 0) info.reason = "there is no GPU " + std::to_string(device) + ", only 1";
    return info;
}
DeviceScope::DeviceScope(int) {}
DeviceScope::~DeviceScope() = default;

void* allocate(int device, size_t bytes) {
    if (bytes == 0) return nullptr;
    const KernelScope scope(device);
    bytes = std::bit_ceil(bytes < 4096 ? size_t(4096) : bytes);
    Arena& a = arena();
    auto& kept = a.free[bytes];
    void* p = nullptr;
    if (!kept.empty()) {
        p = kept.back();
        kept.pop_back();
    } else {
        if (a.used + bytes > kArena)
            throw std::runtime_error("CUDA: asking GPU 0 for " + std::to_string(bytes >> 20) + " MiB: out of memory");
        p = a.base + a.used;
        a.used += bytes;
        a.protect(PROT_READ | PROT_WRITE);
        a.size[p] = bytes;
    }
    if (Recorder::now) a.graph[p] = Recorder::now;
    std::memset(p, 0xff, bytes);  // NaN: what is read before it was written shows
    return p;
}
void release(int, void* p) noexcept {
    if (!p) return;
    const std::lock_guard lock(arena().mutex);
    if (const auto found = arena().graph.find(p); found != arena().graph.end())
        return found->second->released.push_back(p);
    const size_t bytes = arena().size[p];
    if (bytes > 65536) (void)madvise(p, bytes, MADV_DONTNEED);  // protecting costs what is in use
    arena().free[bytes].push_back(p);
}
void copy_to_gpu(int device, void* to, const void* from, size_t bytes) {
    refuse_to_record(device, "a copy to the GPU");
    copy_on_gpu(device, to, from, bytes);
}
void copy_to_host(int device, void* to, const void* from, size_t bytes) {
    refuse_to_record(device, "a copy from the GPU");
    copy_on_gpu(device, to, from, bytes);
}
void copy_on_gpu(int device, void* to, const void* from, size_t bytes) {
    if (bytes) simulate(device, [=] { std::memmove(to, from, bytes); });
}
void copy_rows(int device, void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t rows) {
    simulate(device, [=] {
        for (size_t i = 0; i < rows; ++i)
            std::memmove(static_cast<char*>(to) + i * to_step, static_cast<const char*>(from) + i * from_step, width);
    });
}
void zero(int device, void* p, size_t bytes) {
    if (bytes) simulate(device, [=] { std::memset(p, 0, bytes); });
}
void synchronize(int device) { refuse_to_record(device, "waiting for the GPU"); }
void trim(int) {}

bool can_record() { return true; }
Graph::Graph(int device) : recording_(std::make_shared<Recording>()) {
    const KernelScope scope(device);
    if (Recorder::now) throw std::logic_error("CUDA: this thread records a graph already");
    Recorder::now = recording_.get();
}
void Graph::finish() {
    if (Recorder::now != recording_.get()) throw std::logic_error("CUDA: another thread records this graph");
    Recorder::now = nullptr;
}
void Graph::replay() {
    if (Recorder::now == recording_.get()) throw std::logic_error("CUDA: the graph was not finished");
    const KernelScope scope(0);
    for (const auto& work : recording_->work) work();
}
Graph::~Graph() {
    if (Recorder::now == recording_.get()) Recorder::now = nullptr;
    const std::lock_guard lock(arena().mutex);
    std::erase_if(arena().graph, [&](const auto& block) { return block.second == recording_.get(); });
    for (void* p : recording_->released) release(0, p);
}
Aside::Aside(int device) : device_(device) {}
Aside::~Aside() = default;
void rejoin(int) {}
void* stream(int) { return nullptr; }
void wait_for(int device, void*) { refuse_to_record(device, "waiting for another stream"); }
void let_wait(int device, void*) { refuse_to_record(device, "another stream's waiting"); }
struct Feed::Slots {
    std::shared_ptr<void> last;
    size_t bytes = 0;
};
Feed::Feed(int device) : device_(device), slots_(std::make_unique<Slots>()) { const KernelScope scope(device); }
Feed::~Feed() = default;
std::shared_ptr<void> Feed::put(const void* from, size_t bytes) {
    refuse_to_record(device_, "a copy to the GPU");
    const KernelScope scope(device_);
    Slots& s = *slots_;
    if (s.bytes) std::memset(s.last.get(), 0xff, s.bytes);  // NaN: what is still read after this shows
    s.last = {allocate(device_, bytes), [device = device_](void* p) { release(device, p); }};
    s.bytes = bytes;
    copy_to_gpu(device_, s.last.get(), from, bytes);
    return s.last;
}

}  // namespace unsupfast::cuda

const unsupfast::Launch& unsupfast::cuda_launch(int) { return cpu_launch(); }
