#include "memory.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace unsupfast {
namespace {

constexpr size_t kHeader = 64, kKept = size_t(1) << 30;  // at most this many bytes lie idle

// Sizes are rounded up to a quarter of their power of two, so that a shorter last batch finds memory too.
size_t size_class(size_t bytes) {
    size_t step = 64;
    while (step * 8 < bytes) step *= 2;
    return (bytes + step - 1) / step * step;
}

struct Pool {
    std::mutex mutex;
    std::map<size_t, std::vector<void*>> free;
    size_t idle = 0;
};
Pool& pool() {
    static Pool* p = new Pool;  // never destroyed: arrays may outlive the module's statics
    return *p;
}

}  // namespace

void* take_memory(size_t bytes) {
    const size_t size = size_class(bytes + kHeader);
    char* block = nullptr;
    {
        std::lock_guard lock(pool().mutex);
        const auto found = pool().free.find(size);
        if (found != pool().free.end() && !found->second.empty()) {
            block = static_cast<char*>(found->second.back());
            found->second.pop_back();
            pool().idle -= size;
        }
    }
    if (!block) {
        block = static_cast<char*>(std::aligned_alloc(64, size));
        if (!block) {
            trim_memory();
            block = static_cast<char*>(std::aligned_alloc(64, size));
        }
        if (!block) throw std::bad_alloc();
    }
    *reinterpret_cast<size_t*>(block) = size;
    return block + kHeader;
}

void give_memory_back(void* p) noexcept {
    if (!p) return;
    void* block = static_cast<char*>(p) - kHeader;
    const size_t size = *static_cast<size_t*>(block);
    {
        std::lock_guard lock(pool().mutex);
        if (pool().idle + size <= kKept) try {
                pool().free[size].push_back(block);
                pool().idle += size;
                return;
            } catch (...) {  // no memory for the list
            }
    }
    std::free(block);
}

void trim_memory() noexcept {
    std::lock_guard lock(pool().mutex);
    for (auto& entry : pool().free)
        for (void* block : entry.second) std::free(block);
    pool().free.clear();
    pool().idle = 0;
}

}  // namespace unsupfast
