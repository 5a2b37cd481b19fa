// GPUs from the host's side: what is there, memory, copies, and the launch context of CUDA kernels. Includes
// no CUDA header, and nothing here calls CUDA before it is asked to. Defined by runtime.cu, or by absent.cpp where CUDA
// is not built.
#pragma once
#include <memory>
#include <string>

#include "kernel.h"

namespace unsupfast::cuda {

// True if code built for `archs` (entries like "80-real 90a-real 100-virtual", as in UNSUPFAST_CUDA_ARCHS)
// runs on a GPU of this compute capability: machine code within a major version, PTX on everything newer,
// and the code of an "a" architecture on that one alone.
constexpr bool runs_on(const char* archs, int major, int minor) {
    const int gpu = major * 10 + minor;
    for (const char* s = archs; *s;) {
        int arch = 0;
        bool exact = false;
        const auto word = [&s](const char* w) {
            const char* p = s;
            while (*w && *p == *w) ++p, ++w;
            return *w == 0;
        };
        for (; *s >= '0' && *s <= '9'; ++s) arch = arch * 10 + (*s - '0');
        for (; *s >= 'a' && *s <= 'z'; ++s) exact = exact || *s == 'a';
        const bool real = !word("-virtual"), ptx = !word("-real");
        if (arch != 0) {
            if (exact && arch == gpu) return true;
            if (!exact && real && arch / 10 == major && arch <= gpu) return true;
            if (!exact && ptx && arch <= gpu) return true;
        }
        while (*s && *s != ' ' && *s != ';') ++s;
        while (*s == ' ' || *s == ';') ++s;
    }
    return false;
}

struct GpuInfo {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    size_t memory = 0;   // bytes
    std::string reason;  // why it cannot be used; empty where it can
};

// The number of GPUs; 0 where there is none or no driver, and *reason then says which. Never throws.
int device_count(std::string* reason = nullptr);
// Never throws: what went wrong is in `reason`. Creates no context on the GPU.
GpuInfo device_info(int device);

// Makes a GPU the calling thread's current one, and restores the one before.
class DeviceScope {
  public:
    explicit DeviceScope(int device);
    ~DeviceScope();
    DeviceScope(const DeviceScope&) = delete;
    DeviceScope& operator=(const DeviceScope&) = delete;

  private:
    int before_ = 0, device_ = 0;
};

// All of these are ordered on the GPU's stream. Memory is kept for reuse after it was released.
void* allocate(int device, size_t bytes);
void release(int device, void* p) noexcept;
void copy_to_gpu(int device, void* to, const void* from, size_t bytes);   // returns when `from` may change
void copy_to_host(int device, void* to, const void* from, size_t bytes);  // returns when `to` is there
void copy_on_gpu(int device, void* to, const void* from, size_t bytes);   // asynchronous
// `rows` runs of `width` bytes, their beginnings `to_step` and `from_step` bytes apart; asynchronous
void copy_rows(int device, void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t rows);
void zero(int device, void* p, size_t bytes);  // asynchronous
void synchronize(int device);                  // throws what a kernel did wrong
// Gives memory that was released back to the driver.
void trim(int device);
// Work that is recorded once and done often. From the making of a Graph to finish() what the calling thread starts on
// that GPU is recorded, not done; memory that it asks for belongs to the graph. Copies between CPU and GPU can't be
// recorded.
class Graph {
  public:
    explicit Graph(int device);
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    void finish();
    void replay();  // does all of it, asynchronously

  private:
    struct Recording;
    std::shared_ptr<Recording> recording_;
    friend struct Recorder;
};
bool can_record();
// Throws while the calling thread records a graph on that GPU.
void refuse_to_record(int device, const char* what);
// While a graph is recorded, what is started on that GPU in this scope may be done beside what follows the scope, up to
// rejoin(). Memory that is released in between is not used again by the graph. Nothing changes where none is recorded.
class Aside {
  public:
    explicit Aside(int device);
    ~Aside();
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;

  private:
    int device_;
};
void rejoin(int device);
// The GPU's stream, a cudaStream_t, and its order among those of others: our work waits for theirs, or theirs for ours.
void* stream(int device);
void wait_for(int device, void* theirs);
void let_wait(int device, void* theirs);

}  // namespace unsupfast::cuda

namespace unsupfast {

// The launch context of a GPU: its stream, and scratch memory of the calling thread on the current GPU. Run
// kernels with it inside a cuda::DeviceScope of the same GPU.
const Launch& cuda_launch(int device);

}  // namespace unsupfast
