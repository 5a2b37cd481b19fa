// An owned, zero-initialised, 64-byte aligned buffer of one element type on the CPU or a GPU.
#pragma once
#include <cstdint>
#include <cstring>

#include "device.h"
#include "kernels/gemm/op.h"

namespace unsupfast {

class Array {
  public:
    Array() = default;
    Array(DType dtype, int64_t size, Device device = {}) : dtype_(dtype), size_(size), device_(device) {
        const size_t bytes = (size_t(size) * size_t(element_size(dtype)) + 127) / 64 * 64;
        data_ = memory_on(device, bytes);
        clear_memory(device, data_.get(), bytes);
    }
    Array(Array&&) = default;
    Array& operator=(Array&&) = default;

    explicit operator bool() const { return data_ != nullptr; }
    void* data() const { return data_.get(); }
    template <class T>
    T* as() const {
        return static_cast<T*>(data_.get());
    }
    int64_t size() const { return size_; }
    size_t bytes() const { return size_t(size_) * size_t(element_size(dtype_)); }
    DType dtype() const { return dtype_; }
    Device device() const { return device_; }
    // Keeps the memory if it is large enough: training buffers are allocated once.
    void reserve(DType dtype, int64_t size, Device device = {}) {
        if (!data_ || dtype != dtype_ || size > size_ || device != device_) *this = Array(dtype, size, device);
    }
    void zero() { clear_memory(device_, data_.get(), bytes()); }

  private:
    std::shared_ptr<void> data_;
    DType dtype_ = DType::f32;
    int64_t size_ = 0;
    Device device_;
};

}  // namespace unsupfast
