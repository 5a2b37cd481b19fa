// Memory of arrays that go out to Python. What is given back is kept for the next array of its size: a training
// loop asks for the same sizes step after step, and fresh pages from the system cost more than some kernels.
#pragma once
#include <cstddef>

namespace unsupfast {

// 64-byte aligned, not cleared. Throws std::bad_alloc.
void* take_memory(size_t bytes);
void give_memory_back(void* p) noexcept;
// Hands what is kept, but in use by nobody, back to the system.
void trim_memory() noexcept;

}  // namespace unsupfast
