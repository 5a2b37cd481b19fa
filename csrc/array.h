// An owned, zero-initialised, 64-byte aligned buffer of one element type on the host.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/gemm/op.h"

namespace unsupfast {

class Array {
  public:
    Array() = default;
    Array(DType dtype, int64_t size) : dtype_(dtype), size_(size) {
        const size_t bytes = (size_t(size) * size_t(element_size(dtype)) + 127) / 64 * 64;
        data_.reset(std::aligned_alloc(64, bytes));
        if (!data_) throw std::bad_alloc();
        std::memset(data_.get(), 0, bytes);
    }
    explicit operator bool() const { return data_ != nullptr; }
    void* data() const { return data_.get(); }
    template <class T>
    T* as() const {
        return static_cast<T*>(data_.get());
    }
    int64_t size() const { return size_; }
    DType dtype() const { return dtype_; }
    // Keeps the memory if it is large enough: training buffers are allocated once.
    void reserve(DType dtype, int64_t size) {
        if (!data_ || dtype != dtype_ || size > size_) *this = Array(dtype, size);
    }
    void zero() { std::memset(data_.get(), 0, size_t(size_) * size_t(element_size(dtype_))); }

  private:
    struct Free {
        void operator()(void* p) const { std::free(p); }
    };
    std::unique_ptr<void, Free> data_;
    DType dtype_ = DType::f32;
    int64_t size_ = 0;
};

}  // namespace unsupfast
