#include "cuda/runtime.h"

#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cuda/error.h"

#ifndef UNSUPFAST_CUDA_ARCHS
#define UNSUPFAST_CUDA_ARCHS "80-virtual"
#endif

namespace unsupfast::cuda {

static_assert(runs_on("80-real 90a-real", 8, 9) && runs_on("80-real 90a-real", 9, 0));
static_assert(!runs_on("80-real 90a-real", 10, 0) && !runs_on("90-real", 8, 6) && !runs_on("", 9, 0));
static_assert(runs_on("80-virtual", 12, 0) && runs_on("100-real 100-virtual", 11, 0) && runs_on("80", 9, 0));
static_assert(!runs_on("86-real", 8, 0) && !runs_on("90a-virtual", 10, 0));

namespace {

constexpr int kMaxDevices = 64;

// What is kept of a GPU that was used. Never destroyed: at exit the driver may go before us.
struct Device {
    cudaStream_t stream = nullptr;
    cudaMemPool_t pool = nullptr;  // null: no stream-ordered memory here, plain allocation
    Launch launch = {};
};

Device& device_state(int device);

std::atomic<int> graphs = 0;  // that there are

// Scratch buffers of one thread. They grow and are kept; a buffer that was outgrown is released in stream
// order, after the kernels that use it, but not where a graph may have recorded it.
struct ScratchBuffers {
    struct Buffer {
        void* data = nullptr;
        size_t bytes = 0;
    };
    std::array<std::vector<Buffer>, kMaxDevices> buffers;

    ~ScratchBuffers() {
        for (int d = 0; d < kMaxDevices; ++d)
            for (const Buffer& b : buffers[size_t(d)])
                if (b.data) release(d, b.data);
    }
};

constexpr int kAsideSlots = 16;  // the first slot of what is done aside
thread_local int first_slot = 0;

void* scratch(int slot, size_t bytes) {
    slot += first_slot;
    thread_local ScratchBuffers mine;
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    auto& buffers = mine.buffers.at(size_t(device));
    if (size_t(slot) >= buffers.size()) buffers.resize(size_t(slot) + 1);
    auto& b = buffers[size_t(slot)];
    if (b.bytes < bytes) {
        if (b.data && graphs == 0) release(device, b.data);
        bytes = bytes > 2 * b.bytes ? bytes : 2 * b.bytes;
        b = {};
        b.data = allocate(device, bytes);
        b.bytes = bytes;
    }
    return b.data;
}

void no_threads(int64_t, void (*)(void*, int64_t, int64_t), void*) {
    throw std::logic_error("a CUDA kernel asked for CPU threads");
}

void open(int device, Device& d) {
    const GpuInfo info = device_info(device);
    if (!info.reason.empty()) throw std::runtime_error("CUDA: " + info.reason);
    const DeviceScope scope(device);
    check(cudaStreamCreateWithFlags(&d.stream, cudaStreamNonBlocking), "creating a stream");
    int has_pools = 0;
    check(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device), "asking for memory pools");
    if (has_pools) {
        cudaMemPoolProps props = {};
        props.allocType = cudaMemAllocationTypePinned;
        props.location.type = cudaMemLocationTypeDevice;
        props.location.id = device;
        check(cudaMemPoolCreate(&d.pool, &props), "creating a memory pool");
        uint64_t keep = UINT64_MAX;  // never give memory back by itself: a training loop asks for it again
        check(cudaMemPoolSetAttribute(d.pool, cudaMemPoolAttrReleaseThreshold, &keep), "setting up a memory pool");
    }
    d.launch = Launch{no_threads, scratch, d.stream};
}

Device& device_state(int device) {
    static auto* mutex = new std::mutex;
    static auto* devices = new std::array<std::unique_ptr<Device>, kMaxDevices>;
    if (device < 0 || device >= kMaxDevices)
        throw std::runtime_error("CUDA: there is no GPU " + std::to_string(device));
    const std::lock_guard lock(*mutex);
    auto& slot = (*devices)[size_t(device)];
    if (!slot) {
        auto fresh = std::make_unique<Device>();
        open(device, *fresh);
        slot = std::move(fresh);
    }
    return *slot;
}

}  // namespace

int device_count(std::string* reason) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        if (reason) *reason = explain(error);
        return 0;
    }
    if (count == 0 && reason) *reason = explain(cudaErrorNoDevice);
    return count < kMaxDevices ? count : kMaxDevices;
}

GpuInfo device_info(int device) {
    GpuInfo info;
    const int count = device_count(&info.reason);
    if (!info.reason.empty()) return info;
    if (device < 0 || device >= count) {
        info.reason = "there is no GPU " + std::to_string(device) + ", only " + std::to_string(count);
        return info;
    }
    cudaDeviceProp properties;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) {
        (void)cudaGetLastError();
        info.reason = explain(error);
        return info;
    }
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.multiprocessors = properties.multiProcessorCount;
    info.memory = properties.totalGlobalMem;
    const std::string capability = std::to_string(info.major) + "." + std::to_string(info.minor);
    if (info.major < 8)
        info.reason = info.name + " has compute capability " + capability + "; 8.0 or more is needed";
    else if (!runs_on(UNSUPFAST_CUDA_ARCHS, info.major, info.minor))
        info.reason = info.name + " has compute capability " + capability + ", but this build is for " +
                      UNSUPFAST_CUDA_ARCHS + "; " + advice(cudaErrorNoKernelImageForDevice);
    return info;
}

DeviceScope::DeviceScope(int device) : device_(device) {
    check(cudaGetDevice(&before_), "asking for the current GPU");
    if (device_ != before_) check(cudaSetDevice(device_), "choosing a GPU");
}

DeviceScope::~DeviceScope() {
    if (device_ != before_) (void)cudaSetDevice(before_);
}

struct Graph::Recording {
    int device = 0;
    bool recording = true;
    bool parted = false;                            // something is done aside
    cudaStream_t stream = nullptr, side = nullptr;  // of what is recorded
    Launch launch = {};
    cudaGraphExec_t exec = nullptr;
    std::map<size_t, std::vector<void*>> free;  // by size: what was asked for and released while recording
    std::vector<void*> late;                    // not the graph's, released while recording
};

// The graph that this thread records, and the memory of all graphs: a block lives as long as its graph and what holds
// it besides.
struct Recorder {
    using Recording = Graph::Recording;
    struct Block {
        Recording* graph;  // null: gone
        size_t bytes;
        bool held = true;
    };
    static inline thread_local Recording* now = nullptr;
    static inline auto* mutex = new std::mutex;
    static inline auto* blocks = new std::unordered_map<void*, Block>;
    static inline std::atomic<bool> any = false;  // whether there ever was a graph

    static Recording* on(int device) { return now && now->device == device ? now : nullptr; }

    // False if p has to be given back by the caller.
    static bool released(void* p) {
        const std::lock_guard lock(*mutex);
        const auto found = blocks->find(p);
        if (found == blocks->end()) return false;
        Block& b = found->second;
        if (!b.graph) {
            blocks->erase(found);
            return false;
        }
        b.held = false;
        if (b.graph->recording && !b.graph->parted) b.graph->free[b.bytes].push_back(p);
        return true;
    }
};

namespace {

void* take(const Device& d, int device, size_t bytes) {
    void* p = nullptr;
    const auto get = [&] {
        return d.pool ? cudaMallocFromPoolAsync(&p, bytes, d.pool, d.stream) : cudaMalloc(&p, bytes);
    };
    cudaError_t error = get();
    if (error == cudaErrorMemoryAllocation && !Recorder::now) {  // once more without what the pool keeps
        (void)cudaGetLastError();
        trim(device);
        error = get();
    }
    if (error != cudaSuccess)
        check(error, ("asking GPU " + std::to_string(device) + " for " + std::to_string(bytes >> 20) + " MiB").c_str());
    return p;
}

// cudaFree waits for the GPU by itself
void give(const Device& d, void* p) {
    if ((d.pool ? cudaFreeAsync(p, d.stream) : cudaFree(p)) != cudaSuccess) (void)cudaGetLastError();
}

// What a thread starts goes to the GPU's stream, or to that of the graph it records.
cudaStream_t stream_now(int device, const Device& d) {
    const auto* r = Recorder::on(device);
    return r ? static_cast<cudaStream_t>(r->launch.stream) : d.stream;
}

}  // namespace

void* allocate(int device, size_t bytes) {
    if (bytes == 0) return nullptr;
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    auto* r = Recorder::on(device);
    if (!r) return take(d, device, bytes);
    bytes = (bytes + 511) / 512 * 512;
    auto& kept = r->free[bytes];
    void* p = nullptr;
    if (!kept.empty()) {
        p = kept.back();
        kept.pop_back();
        const std::lock_guard lock(*Recorder::mutex);
        Recorder::blocks->at(p).held = true;
    } else {
        p = take(d, device, bytes);
        const std::lock_guard lock(*Recorder::mutex);
        Recorder::blocks->emplace(p, Recorder::Block{r, bytes});
    }
    return p;
}

void release(int device, void* p) noexcept {
    if (!p) return;
    try {
        const Device& d = device_state(device);
        const DeviceScope scope(device);
        if (Recorder::any && Recorder::released(p)) return;
        if (auto* r = Recorder::on(device)) return r->late.push_back(p);
        give(d, p);
    } catch (const std::exception&) {
        // the process is ending and the driver is gone: so is the memory
    }
}

void copy_to_gpu(int device, void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    refuse_to_record(device, "a copy to the GPU");
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, d.stream), "copying to the GPU");
    check(cudaStreamSynchronize(d.stream), "copying to the GPU");
}

void copy_to_host(int device, void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    refuse_to_record(device, "a copy from the GPU");
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, d.stream), "copying from the GPU");
    check(cudaStreamSynchronize(d.stream), "copying from the GPU");
}

void copy_on_gpu(int device, void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_now(device, d)), "copying on the GPU");
}

void copy_rows(int device, void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t rows) {
    if (width == 0 || rows == 0) return;
    if (rows == 1 || (to_step == width && from_step == width)) return copy_on_gpu(device, to, from, width * rows);
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaMemcpy2DAsync(to, to_step, from, from_step, width, rows, cudaMemcpyDeviceToDevice, stream_now(device, d)),
          "copying on the GPU");
}

void zero(int device, void* p, size_t bytes) {
    if (bytes == 0) return;
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaMemsetAsync(p, 0, bytes, stream_now(device, d)), "zeroing GPU memory");
}

void synchronize(int device) {
    refuse_to_record(device, "waiting for the GPU");
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaStreamSynchronize(d.stream), "waiting for the GPU");
}

void trim(int device) {
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    check(cudaStreamSynchronize(d.stream), "waiting for the GPU");
    if (d.pool) check(cudaMemPoolTrimTo(d.pool, 0), "giving GPU memory back");
}

namespace {

void order(int device, cudaStream_t first, cudaStream_t then) {
    const DeviceScope scope(device);
    cudaEvent_t event;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    const cudaError_t recorded = cudaEventRecord(event, first);
    const cudaError_t waits = recorded == cudaSuccess ? cudaStreamWaitEvent(then, event) : recorded;
    (void)cudaEventDestroy(event);  // once it has happened
    check(waits, "ordering streams");
}

}  // namespace

// ---------------------------------------------------------------- graphs

bool can_record() { return true; }

void refuse_to_record(int device, const char* what) {
    if (Recorder::on(device)) throw std::runtime_error(std::string("CUDA: ") + what + " can't be recorded in a graph");
}

Graph::Graph(int device) : recording_(std::make_shared<Recording>()) {
    const Device& d = device_state(device);
    const DeviceScope scope(device);
    if (Recorder::now) throw std::logic_error("CUDA: this thread records a graph already");
    Recording& r = *recording_;
    r.device = device;
    check(cudaStreamCreateWithFlags(&r.stream, cudaStreamNonBlocking), "creating a stream");
    check(cudaStreamCreateWithFlags(&r.side, cudaStreamNonBlocking), "creating a stream");
    r.launch = d.launch;
    r.launch.stream = r.stream;
    // relaxed: memory is asked for on the GPU's own stream meanwhile
    const cudaError_t begun = cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeRelaxed);
    check(begun, "recording a graph");
    Recorder::any = true;
    ++graphs;
    Recorder::now = &r;
}

namespace {

// What follows waits for what was done aside.
template <class R>  // Recording is private
cudaError_t join(R& r) noexcept {
    r.parted = false;
    cudaEvent_t event;
    cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    if (error != cudaSuccess) return error;
    error = cudaEventRecord(event, r.side);
    if (error == cudaSuccess) error = cudaStreamWaitEvent(r.stream, event);
    (void)cudaEventDestroy(event);
    return error;
}

// Ends recording. What was recorded is in *graph, or null where it failed.
template <class R>
cudaError_t stop(R& r, const Device& d, cudaGraph_t* graph) noexcept {
    Recorder::now = nullptr;
    if (r.parted) (void)join(r);
    const cudaError_t ended = cudaStreamEndCapture(r.stream, graph);
    {
        const std::lock_guard lock(*Recorder::mutex);
        r.recording = false;
        r.free.clear();
    }
    for (void* p : r.late) give(d, p);
    r.late.clear();
    (void)cudaStreamDestroy(r.stream);
    (void)cudaStreamDestroy(r.side);
    return ended;
}

}  // namespace

Aside::Aside(int device) : device_(device) {
    auto* r = Recorder::on(device);
    if (!r) return;
    order(device, r->stream, r->side);
    r->parted = true;
    r->launch.stream = r->side;
    first_slot = kAsideSlots;
}

Aside::~Aside() {
    auto* r = Recorder::on(device_);
    if (!r) return;
    r->launch.stream = r->stream;
    first_slot = 0;
}

void rejoin(int device) {
    auto* r = Recorder::on(device);
    if (r && r->parted) check(join(*r), "recording a graph");
}

void Graph::finish() {
    Recording& r = *recording_;
    if (Recorder::now != &r) throw std::logic_error("CUDA: another thread records this graph");
    const Device& d = device_state(r.device);
    const DeviceScope scope(r.device);
    cudaGraph_t graph = nullptr;
    check(stop(r, d, &graph), "recording a graph");
    const cudaError_t made = cudaGraphInstantiate(&r.exec, graph, 0);
    (void)cudaGraphDestroy(graph);
    check(made, "making a graph");
}

void Graph::replay() {
    const Recording& r = *recording_;
    if (!r.exec) throw std::logic_error("CUDA: the graph was not finished");
    const DeviceScope scope(r.device);
    check(cudaGraphLaunch(r.exec, device_state(r.device).stream), "starting a graph");
}

Graph::~Graph() {
    Recording& r = *recording_;
    try {
        const Device& d = device_state(r.device);
        const DeviceScope scope(r.device);
        cudaGraph_t graph = nullptr;
        if (r.recording) (void)stop(r, d, &graph);
        if (graph) (void)cudaGraphDestroy(graph);
        (void)cudaStreamSynchronize(d.stream);  // it may still be at work
        if (r.exec) (void)cudaGraphExecDestroy(r.exec);
        (void)cudaGetLastError();
        const std::lock_guard lock(*Recorder::mutex);
        for (auto at = Recorder::blocks->begin(); at != Recorder::blocks->end();) {
            const bool own = at->second.graph == &r;
            if (own) at->second.graph = nullptr;
            if (!own || at->second.held) {
                ++at;
                continue;
            }
            give(d, at->first);
            at = Recorder::blocks->erase(at);
        }
    } catch (const std::exception&) {
        // the process is ending and the driver is gone
    }
    --graphs;
}

void* stream(int device) { return device_state(device).stream; }

void wait_for(int device, void* theirs) {
    refuse_to_record(device, "waiting for another stream");
    order(device, static_cast<cudaStream_t>(theirs), device_state(device).stream);
}
void let_wait(int device, void* theirs) {
    refuse_to_record(device, "another stream's waiting");
    order(device, device_state(device).stream, static_cast<cudaStream_t>(theirs));
}

}  // namespace unsupfast::cuda

const unsupfast::Launch& unsupfast::cuda_launch(int device) {
    if (const auto* r = cuda::Recorder::on(device)) return r->launch;
    return cuda::device_state(device).launch;
}
