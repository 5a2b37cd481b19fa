#include "cuda/feed.h"

#include <cuda_runtime_api.h>

#include <array>
#include <cstring>
#include <string>

#include "cuda/error.h"
#include "cuda/runtime.h"

namespace unsupfast::cuda {

struct Feed::Slots {
    struct Slot {
        void* pinned = nullptr;
        std::shared_ptr<void> memory;  // of the GPU
        size_t bytes = 0;              // of both
        cudaEvent_t copied = nullptr;  // the last copy into the slot is done,
        cudaEvent_t read = nullptr;    // and so is all that reads what it brought
    };
    cudaStream_t stream = nullptr;
    std::array<Slot, 2> slots;
    size_t next = 0;

    ~Slots() {
        if (!stream) return;
        (void)cudaStreamSynchronize(stream);
        for (const Slot& s : slots) {
            (void)cudaFreeHost(s.pinned);
            (void)cudaEventDestroy(s.copied);
            (void)cudaEventDestroy(s.read);
        }
        (void)cudaStreamDestroy(stream);
        (void)cudaGetLastError();  // of an event that could not be made, or at exit, when the driver is gone
    }

    // The slot's buffers of before are in use by nobody but the GPU's stream, in whose order memory is released.
    static void grow(int device, Slot& slot, size_t bytes) {
        slot.bytes = 0;
        slot.memory.reset();
        check(cudaFreeHost(slot.pinned), "releasing pinned memory");
        slot.pinned = nullptr;
        if (const cudaError_t error = cudaMallocHost(&slot.pinned, bytes); error != cudaSuccess) {
            (void)cudaGetLastError();
            throw std::runtime_error("CUDA: asking the CPU for " + std::to_string(bytes >> 20) +
                                     " MiB of pinned memory: " + cudaGetErrorString(error) +
                                     "; use a smaller batch_size, or free memory of this machine");
        }
        slot.memory = {allocate(device, bytes), [device](void* p) { release(device, p); }};
        slot.bytes = bytes;
    }
};

Feed::Feed(int device) : device_(device), slots_(std::make_unique<Slots>()) {
    (void)cuda::stream(device);  // throws where this GPU cannot be used
    const DeviceScope scope(device);
    Slots& s = *slots_;
    check(cudaStreamCreateWithFlags(&s.stream, cudaStreamNonBlocking), "creating a stream");
    for (auto& slot : s.slots)
        for (cudaEvent_t* event : {&slot.copied, &slot.read})
            check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "creating an event");
}

Feed::~Feed() = default;

std::shared_ptr<void> Feed::put(const void* from, size_t bytes) {
    refuse_to_record(device_, "a copy to the GPU");
    const auto compute = static_cast<cudaStream_t>(cuda::stream(device_));
    const DeviceScope scope(device_);
    Slots& s = *slots_;
    Slots::Slot &slot = s.slots[s.next], &other = s.slots[1 - s.next];
    constexpr const char* kDoing = "feeding the GPU";
    check(cudaEventRecord(other.read, compute), kDoing);  // all that reads it has been started
    check(cudaEventSynchronize(slot.copied), kDoing);
    if (slot.bytes < bytes) {
        Slots::grow(device_, slot, bytes);
        check(cudaEventRecord(slot.read, compute), kDoing);  // memory is there in the order of the GPU's stream
    }
    if (bytes) {
        std::memcpy(slot.pinned, from, bytes);
        check(cudaStreamWaitEvent(s.stream, slot.read), kDoing);
        check(cudaMemcpyAsync(slot.memory.get(), slot.pinned, bytes, cudaMemcpyHostToDevice, s.stream), kDoing);
        check(cudaEventRecord(slot.copied, s.stream), kDoing);
        check(cudaStreamWaitEvent(compute, slot.copied), kDoing);
    }
    s.next = 1 - s.next;
    return slot.memory;
}

}  // namespace unsupfast::cuda
