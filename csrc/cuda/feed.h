// Input of a GPU that keeps neither side waiting: while it computes with one array, the next one travels. Defined by
// feed.cu and absent.cpp.
#pragma once
#include <cstddef>
#include <memory>

namespace unsupfast::cuda {

// Two slots take turns, each a pinned buffer of the CPU and one of the GPU; copies go through a stream of their own.
class Feed {
  public:
    explicit Feed(int device);
    ~Feed();  // waits for its copies
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;
    int device() const { return device_; }
    // A copy on the GPU, for what is started there before the next put: later ones overwrite it. `from` may change at
    // once.
    std::shared_ptr<void> put(const void* from, size_t bytes);

  private:
    struct Slots;
    int device_;
    std::unique_ptr<Slots> slots_;
};

}  // namespace unsupfast::cuda
