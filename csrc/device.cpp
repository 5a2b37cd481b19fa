#include "device.h"

#include <cstring>
#include <stdexcept>

#include "cuda/runtime.h"
#include "memory.h"

namespace unsupfast {

std::shared_ptr<void> memory_on(Device device, size_t bytes) {
    if (!device.is_gpu()) return {take_memory(bytes), give_memory_back};
    return {cuda::allocate(device.gpu, bytes), [gpu = device.gpu](void* p) { cuda::release(gpu, p); }};
}

void copy_memory(Device to_device, void* to, Device from_device, const void* from, size_t bytes) {
    if (bytes == 0) return;
    if (to_device.is_gpu() && from_device.is_gpu()) {
        if (to_device == from_device) return cuda::copy_on_gpu(to_device.gpu, to, from, bytes);
        const std::shared_ptr<void> between = memory_on({}, bytes);  // through the CPU: rare, and always possible
        cuda::copy_to_host(from_device.gpu, between.get(), from, bytes);
        return cuda::copy_to_gpu(to_device.gpu, to, between.get(), bytes);
    }
    if (to_device.is_gpu()) return cuda::copy_to_gpu(to_device.gpu, to, from, bytes);
    if (from_device.is_gpu()) return cuda::copy_to_host(from_device.gpu, to, from, bytes);
    std::memcpy(to, from, bytes);
}

void clear_memory(Device device, void* p, size_t bytes) {
    if (bytes == 0) return;
    if (device.is_gpu())
        cuda::zero(device.gpu, p, bytes);
    else
        std::memset(p, 0, bytes);
}

}  // namespace unsupfast
