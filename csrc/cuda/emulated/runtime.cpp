// CUDA's runtime on the emulated GPU. What is put on a stream is done when somebody waits for it, or at once where a
// copy from the CPU is (a toss decides). Only then the GPU's memory can be touched: a loop of the host over it fails.
// Memory that is given out is NaN, so that what is read before it was written shows; under AddressSanitizer what lies
// past it, or was freed, can't be read at all.
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cuda/emulated/machine.h"
#include "cuda_runtime_api.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

namespace unsupfast::emulated {

using Work = std::function<void()>;

// A graph: work, and what of it has to be done before.
struct Recording {
    struct Node {
        Work work;
        std::vector<size_t> after;
    };
    std::vector<Node> nodes;

    void add(Work work, std::vector<size_t>& after) {
        nodes.push_back({std::move(work), after});
        after = {nodes.size() - 1};
    }
    // In one of the orders that are allowed.
    void run() const {
        std::vector<bool> done(nodes.size());
        for (size_t left = nodes.size(); left > 0; --left) {
            const bool last = toss();
            size_t chosen = nodes.size();
            for (size_t i = 0; i < nodes.size() && (last || chosen == nodes.size()); ++i) {
                const auto& after = nodes[i].after;
                if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t a) { return done[a]; })) chosen = i;
            }
            done[chosen] = true;
            nodes[chosen].work();
        }
    }
    bool holds(const std::vector<size_t>& some, const std::vector<size_t>& before) const {
        std::vector<bool> seen(nodes.size());
        std::vector<size_t> open = before;
        while (!open.empty()) {
            const size_t at = open.back();
            open.pop_back();
            if (seen[at]) continue;
            seen[at] = true;
            open.insert(open.end(), nodes[at].after.begin(), nodes[at].after.end());
        }
        return std::all_of(some.begin(), some.end(), [&](size_t at) { return seen[at]; });
    }
};

struct Stream {
    std::deque<Work> queue;
    uint64_t put = 0, done = 0;
    Recording* recording = nullptr;
    std::vector<size_t> after;  // of the recording: what the next node follows
};

struct Event {
    Stream* stream = nullptr;
    uint64_t put = 0;
    Recording* recording = nullptr;
    std::vector<size_t> after;
};

struct Pool {
    std::map<size_t, std::vector<char*>> free;  // by size
};

namespace {

constexpr size_t kArena = size_t(8) << 30;  // reserved, not used
constexpr size_t kHuge = size_t(2) << 20, kSmallest = 4096;

struct Gpu {
    std::recursive_mutex mutex;
    char* base = nullptr;
    size_t used = 0;
    std::map<void*, size_t> size;
    int open = 0;
    Pool pool;
    std::vector<std::unique_ptr<Stream>> streams;  // never destroyed: events may name them
    std::map<const void*, std::map<cudaFuncAttribute, int>> attributes;
    std::string failure;
    cudaError_t last = cudaSuccess;
    int major = 9, minor = 0, processors = 132;

    Gpu() {
        void* p = mmap(nullptr, kArena + kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) throw std::bad_alloc();
        base = static_cast<char*>(p) + (kHuge - reinterpret_cast<uintptr_t>(p) % kHuge);
        (void)madvise(base, kArena, MADV_HUGEPAGE);  // protecting costs time for every page
        if (const char* text = std::getenv("UNSUPFAST_EMULATED_CAPABILITY")) std::sscanf(text, "%d.%d", &major, &minor);
        if (const char* text = std::getenv("UNSUPFAST_EMULATED_PROCESSORS")) processors = std::atoi(text);
    }
    void protect(int mode) const {
        if (used && mprotect(base, (used + kHuge - 1) / kHuge * kHuge, mode)) throw std::bad_alloc();
    }
};
Gpu& gpu() {
    static auto* g = new Gpu;
    return *g;
}

// The GPU at work: its memory can be touched.
class AtWork {
  public:
    AtWork() {
        if (gpu().open++ == 0) gpu().protect(PROT_READ | PROT_WRITE);
    }
    ~AtWork() {
        if (--gpu().open == 0) gpu().protect(PROT_NONE);
    }
};

void drain(Stream& stream, uint64_t until) {
    if (stream.done >= until) return;
    const AtWork scope;
    while (stream.done < until) {
        const Work work = std::move(stream.queue.front());
        stream.queue.pop_front();
        ++stream.done;
        work();
    }
}

void put(Stream& stream, Work work) {
    if (stream.recording) return stream.recording->add(std::move(work), stream.after);
    stream.queue.push_back(std::move(work));
    ++stream.put;
}

cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) gpu().last = error;
    return error;
}
// What went wrong in what was done, once.
cudaError_t outcome() { return gpu().failure.empty() ? cudaSuccess : told(cudaErrorLaunchFailure); }

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

cudaError_t start(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> work) {
    const Lock lock(gpu().mutex);
    Grid g;
    g.blocks = {config.gridDim.x, 1, 1};
    g.threads = {config.blockDim.x, 1, 1};
    g.shared = config.dynamicSmemBytes;
    for (unsigned i = 0; i < config.numAttrs; ++i)
        if (config.attrs[i].id == cudaLaunchAttributeClusterDimension)
            g.cluster = int(config.attrs[i].val.clusterDim.x);
    auto& allowed = gpu().attributes[kernel];
    const size_t most = std::max(48 * 1024, allowed[cudaFuncAttributeMaxDynamicSharedMemorySize]);
    const int largest = allowed[cudaFuncAttributeNonPortableClusterSizeAllowed] ? 16 : 8;
    if (g.blocks.x == 0 || g.threads.x == 0 || g.threads.x > 1024 || g.shared > most || g.cluster > largest ||
        g.cluster < 1)
        return told(cudaErrorInvalidValue);
    put(*config.stream, [g, work = std::move(work)] {
        if (const std::string what = run(g, work); !what.empty()) gpu().failure = what;
    });
    return cudaSuccess;
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    const Lock lock(gpu().mutex);
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > int(kLargest))
        return told(cudaErrorInvalidValue);
    gpu().attributes[kernel][attribute] = value;
    return cudaSuccess;
}

cudaError_t active_clusters(int* count, const cudaLaunchConfig_t& config) {
    int cluster = 1;
    for (unsigned i = 0; i < config.numAttrs; ++i)
        if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) cluster = int(config.attrs[i].val.clusterDim.x);
    const int each = config.dynamicSmemBytes <= kLargest / 2 ? 2 : 1;
    *count = gpu().processors * each / cluster;
    return cudaSuccess;
}

}  // namespace unsupfast::emulated

using namespace unsupfast::emulated;

// ---------------------------------------------------------------- errors, devices

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorMemoryAllocation:
            return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidDevice:
            return "cudaErrorInvalidDevice";
        case cudaErrorLaunchFailure:
            return "cudaErrorLaunchFailure";
        case cudaErrorStreamCaptureUnsupported:
            return "cudaErrorStreamCaptureUnsupported";
        default:
            return "cudaErrorInvalidValue";
    }
}
const char* cudaGetErrorString(cudaError_t error) {
    static std::string text;
    switch (error) {
        case cudaSuccess:
            return "no error";
        case cudaErrorMemoryAllocation:
            return "out of memory";
        case cudaErrorInvalidDevice:
            return "invalid device ordinal";
        case cudaErrorLaunchFailure:
            text = std::exchange(gpu().failure, {});
            return text.c_str();
        case cudaErrorStreamCaptureUnsupported:
            return "operation not permitted when stream is capturing";
        default:
            return "invalid argument";
    }
}
cudaError_t cudaGetLastError() { return std::exchange(gpu().last, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : told(cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    *p = {};
    std::snprintf(p->name, sizeof(p->name), "emulated GPU");
    p->major = gpu().major;
    p->minor = gpu().minor;
    p->multiProcessorCount = gpu().processors;
    p->totalGlobalMem = kArena;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount:
            *value = gpu().processors;
            break;
        case cudaDevAttrMemoryPoolsSupported:
            *value = 1;
            break;
        case cudaDevAttrComputeCapabilityMajor:
            *value = gpu().major;
            break;
        case cudaDevAttrComputeCapabilityMinor:
            *value = gpu().minor;
            break;
    }
    return cudaSuccess;
}

// ---------------------------------------------------------------- memory

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
    *pool = &gpu().pool;
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaMallocFromPoolAsync(void** p, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
    Gpu& g = gpu();
    const Lock lock(g.mutex);
    // with room after what is asked for, which nobody may read
    const size_t room = std::bit_ceil(std::max(bytes + 64, kSmallest));
    auto& kept = pool->free[room];
    char* block = nullptr;
    if (!kept.empty()) {
        block = kept.back();
        kept.pop_back();
    } else {
        if (room > kArena - g.used) return told(cudaErrorMemoryAllocation);
        block = g.base + g.used;
        g.used += room;
        g.size[block] = room;
        if (g.open) g.protect(PROT_READ | PROT_WRITE);
    }
    put(*stream, [block, bytes, room] {
        ASAN_UNPOISON_MEMORY_REGION(block, room);
        std::memset(block, 0xff, room);
        ASAN_POISON_MEMORY_REGION(block + bytes, room - bytes);
    });
    *p = block;
    return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
    Gpu& g = gpu();
    const Lock lock(g.mutex);
    const auto found = g.size.find(p);
    if (found == g.size.end()) return told(cudaErrorInvalidValue);
    const size_t room = found->second;
    put(*stream, [p, room] { ASAN_POISON_MEMORY_REGION(p, room); });
    gpu().pool.free[room].push_back(static_cast<char*>(p));
    return cudaSuccess;
}
cudaError_t cudaMalloc(void**, size_t) { return told(cudaErrorInvalidValue); }
cudaError_t cudaFree(void*) { return told(cudaErrorInvalidValue); }
cudaError_t cudaMallocHost(void** p, size_t bytes) {
    *p = std::malloc(bytes);
    return *p ? cudaSuccess : told(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
    std::free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t rows,
                              cudaMemcpyKind kind, cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    if (stream->recording && kind != cudaMemcpyDeviceToDevice) return told(cudaErrorStreamCaptureUnsupported);
    put(*stream, [=] {
        for (size_t i = 0; i < rows; ++i)
            std::memmove(static_cast<char*>(to) + i * to_step, static_cast<const char*>(from) + i * from_step, width);
    });
    if (kind == cudaMemcpyHostToDevice && toss()) drain(*stream, stream->put);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    put(*stream, [=] { std::memset(p, value, bytes); });
    return cudaSuccess;
}

// ---------------------------------------------------------------- streams, events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    const Lock lock(gpu().mutex);
    gpu().streams.push_back(std::make_unique<Stream>());
    *stream = gpu().streams.back().get();
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    drain(*stream, stream->put);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    if (stream->recording) return told(cudaErrorStreamCaptureUnsupported);
    drain(*stream, stream->put);
    return outcome();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = new Event;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    *event = {stream, stream->put, stream->recording, stream->after};
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event) {
    const Lock lock(gpu().mutex);
    if (event->recording) {
        if (stream->recording != event->recording) stream->after.clear();
        stream->recording = event->recording;
        stream->after.insert(stream->after.end(), event->after.begin(), event->after.end());
        return cudaSuccess;
    }
    if (stream->recording) return told(cudaErrorStreamCaptureUnsupported);
    if (event->stream) put(*stream, [first = event->stream, until = event->put] { drain(*first, until); });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const Lock lock(gpu().mutex);
    if (event->recording) return told(cudaErrorStreamCaptureUnsupported);
    if (event->stream) drain(*event->stream, event->put);
    return outcome();
}

// ---------------------------------------------------------------- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Lock lock(gpu().mutex);
    if (stream->recording) return told(cudaErrorInvalidValue);
    stream->recording = new Recording;
    stream->after.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Lock lock(gpu().mutex);
    Recording* recording = std::exchange(stream->recording, nullptr);
    if (!recording) return told(cudaErrorInvalidValue);
    bool joined = true;
    for (const auto& other : gpu().streams)
        if (other->recording == recording) {
            joined = joined && recording->holds(other->after, stream->after);
            other->recording = nullptr;
        }
    *graph = recording;
    return joined ? cudaSuccess : told(cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    *exec = new Recording(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    const Lock lock(gpu().mutex);
    put(*stream, [exec] { exec->run(); });
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}
