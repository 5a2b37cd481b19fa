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
#include "parallel.h"

namespace unsupfast::cuda {
namespace {

constexpr size_t kArena = size_t(8) << 30;  // reserved, not used

// Freed blocks are kept by size. One mutex, and one count of those who may touch the memory.
struct Arena {
    char* base = nullptr;
    size_t used = 0;
    std::map<size_t, std::vector<void*>> free;
    std::map<void*, size_t> size;
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

}  // namespace

KernelScope::KernelScope(int device) {
    if (device != 0) throw std::runtime_error("CUDA: there is no GPU " + std::to_string(device));
    arena().mutex.lock();
    if (arena().open++ == 0) arena().protect(PROT_READ | PROT_WRITE);
}
KernelScope::~KernelScope() {
    if (--arena().open == 0) arena().protect(PROT_NONE);
    arena().mutex.unlock();
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
    if (!kept.empty()) {
        void* p = kept.back();
        kept.pop_back();
        std::memset(p, 0xff, bytes);  // NaN: what is read before it was written shows
        return p;
    }
    if (a.used + bytes > kArena)
        throw std::runtime_error("CUDA: asking GPU 0 for " + std::to_string(bytes >> 20) + " MiB: out of memory");
    void* p = a.base + a.used;
    a.used += bytes;
    a.protect(PROT_READ | PROT_WRITE);
    a.size[p] = bytes;
    std::memset(p, 0xff, bytes);
    return p;
}
void release(int, void* p) noexcept {
    if (!p) return;
    const std::lock_guard lock(arena().mutex);
    const size_t bytes = arena().size[p];
    if (bytes > 65536) (void)madvise(p, bytes, MADV_DONTNEED);  // protecting costs what is in use
    arena().free[bytes].push_back(p);
}
void copy_to_gpu(int device, void* to, const void* from, size_t bytes) { copy_on_gpu(device, to, from, bytes); }
void copy_to_host(int device, void* to, const void* from, size_t bytes) { copy_on_gpu(device, to, from, bytes); }
void copy_on_gpu(int device, void* to, const void* from, size_t bytes) {
    const KernelScope scope(device);
    if (bytes) std::memmove(to, from, bytes);
}
void copy_rows(int device, void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t rows) {
    const KernelScope scope(device);
    for (size_t i = 0; i < rows; ++i)
        std::memmove(static_cast<char*>(to) + i * to_step, static_cast<const char*>(from) + i * from_step, width);
}
void zero(int device, void* p, size_t bytes) {
    const KernelScope scope(device);
    if (bytes) std::memset(p, 0, bytes);
}
void synchronize(int) {}
void trim(int) {}
struct Graph::Recording {};
Graph::Graph(int) { throw std::runtime_error("CUDA: the simulated GPU records nothing"); }
Graph::~Graph() = default;
void Graph::finish() {}
void Graph::replay() {}
bool can_record() { return false; }
void refuse_to_record(int, const char*) {}
Aside::Aside(int device) : device_(device) {}
Aside::~Aside() = default;
void rejoin(int) {}
void* stream(int) { return nullptr; }
void wait_for(int, void*) {}
void let_wait(int, void*) {}
struct Feed::Slots {
    std::shared_ptr<void> last;
    size_t bytes = 0;
};
Feed::Feed(int device) : device_(device), slots_(std::make_unique<Slots>()) { const KernelScope scope(device); }
Feed::~Feed() = default;
std::shared_ptr<void> Feed::put(const void* from, size_t bytes) {
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
