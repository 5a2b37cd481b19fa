// Where arrays lie and operations run: on the CPU, or on a GPU by its number.
#pragma once
#include <cstddef>
#include <memory>

namespace unsupfast {

struct Device {
    int gpu = -1;

    bool is_gpu() const { return gpu >= 0; }
    bool operator==(const Device&) const = default;
};

// Memory there, not cleared; on the CPU from the pool of memory.h. Throws std::bad_alloc, or what CUDA says.
std::shared_ptr<void> memory_on(Device device, size_t bytes);
// Between any two devices, in the order of the GPU's stream. Returns when memory on the CPU may be used or changed.
void copy_memory(Device to_device, void* to, Device from_device, const void* from, size_t bytes);
void clear_memory(Device device, void* p, size_t bytes);

}  // namespace unsupfast
