// What cuda/runtime.h and cuda/feed.h say in a build without CUDA.
#include <stdexcept>

#include "cuda/feed.h"
#include "cuda/runtime.h"

namespace unsupfast::cuda {
namespace {

constexpr const char* kReason = UNSUPFAST_CUDA_REASON;

[[noreturn]] void fail() {
    throw std::runtime_error(std::string("CUDA: this build has no CUDA: ") + kReason +
                             "; build again with UNSUPFAST_CUDA=AUTO or ON, or use device='cpu'");
}

}  // namespace

int device_count(std::string* reason) {
    if (reason) *reason = kReason;
    return 0;
}
GpuInfo device_info(int) {
    GpuInfo info;
    info.reason = kReason;
    return info;
}
DeviceScope::DeviceScope(int) { fail(); }
DeviceScope::~DeviceScope() = default;
void* allocate(int, size_t) { fail(); }
void release(int, void*) noexcept {}
void copy_to_gpu(int, void*, const void*, size_t) { fail(); }
void copy_to_host(int, void*, const void*, size_t) { fail(); }
void copy_on_gpu(int, void*, const void*, size_t) { fail(); }
void copy_rows(int, void*, size_t, const void*, size_t, size_t, size_t) { fail(); }
void zero(int, void*, size_t) { fail(); }
void synchronize(int) { fail(); }
void trim(int) { fail(); }
struct Graph::Recording {};
Graph::Graph(int) { fail(); }
Graph::~Graph() = default;
void Graph::finish() { fail(); }
void Graph::replay() { fail(); }
bool can_record() { return false; }
void refuse_to_record(int, const char*) { fail(); }
Aside::Aside(int device) : device_(device) {}
Aside::~Aside() = default;
void rejoin(int) {}
void* stream(int) { fail(); }
void wait_for(int, void*) { fail(); }
void let_wait(int, void*) { fail(); }
struct Feed::Slots {};
Feed::Feed(int device) : device_(device) { fail(); }
Feed::~Feed() = default;
std::shared_ptr<void> Feed::put(const void*, size_t) { fail(); }

}  // namespace unsupfast::cuda

const unsupfast::Launch& unsupfast::cuda_launch(int) { unsupfast::cuda::fail(); }
