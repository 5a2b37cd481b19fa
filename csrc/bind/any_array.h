// Arrays of Python, wherever they lie: NumPy arrays on the CPU, GpuArrays on a GPU. Bindings take and return these and
// run their kernels on the device of their arguments.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "device.h"
#include "kernels/gemm/op.h"
#include "memory.h"

namespace unsupfast::bind {

namespace py = pybind11;

// An array on a GPU: memory that views share, and a view's shape and strides (in elements).
struct GpuArray {
    std::shared_ptr<void> memory;
    char* data = nullptr;
    py::dtype dtype;
    std::vector<int64_t> shape, strides;
    Device device;

    int64_t size() const {
        int64_t n = 1;
        for (int64_t e : shape) n *= e;
        return n;
    }
    bool contiguous() const {
        int64_t step = 1;
        for (size_t d = shape.size(); d-- > 0; step *= shape[d])
            if (shape[d] != 1 && strides[d] != step) return size() == 0;
        return true;
    }
};

inline std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape) {
    std::vector<int64_t> strides(shape.size());
    int64_t step = 1;
    for (size_t d = shape.size(); d-- > 0; step *= shape[d]) strides[d] = step;
    return strides;
}

// An array, or a GpuArray: what both have.
class AnyArray {
  public:
    AnyArray() = default;
    AnyArray(py::array a) : object_(std::move(a)) {}  // NOLINT: an array is one
    explicit AnyArray(py::object gpu_array) : object_(std::move(gpu_array)), gpu_(&py::cast<GpuArray&>(object_)) {}

    // A new array, not cleared.
    AnyArray(const py::dtype& dtype, const std::vector<int64_t>& shape, Device device) {
        size_t bytes = size_t(dtype.itemsize());
        for (int64_t n : shape) bytes *= size_t(n);
        if (device.is_gpu()) {
            std::shared_ptr<void> memory = memory_on(device, bytes);
            char* data = static_cast<char*>(memory.get());
            object_ = py::cast(GpuArray{std::move(memory), data, dtype, shape, contiguous_strides(shape), device});
            gpu_ = &py::cast<GpuArray&>(object_);
        } else {  // in memory that returns to the pool with it
            void* data = take_memory(bytes);
            const py::capsule owner(data, give_memory_back);
            object_ = py::array(dtype, std::vector<py::ssize_t>(shape.begin(), shape.end()), data, owner);
        }
    }

    const py::object& object() const { return object_; }
    Device device() const { return gpu_ ? gpu_->device : Device{}; }
    py::dtype dtype() const { return gpu_ ? gpu_->dtype : array().dtype(); }
    int64_t ndim() const { return gpu_ ? int64_t(gpu_->shape.size()) : int64_t(array().ndim()); }
    int64_t shape(int64_t d) const { return gpu_ ? gpu_->shape[size_t(d)] : int64_t(array().shape(py::ssize_t(d))); }
    int64_t itemsize() const { return gpu_ ? int64_t(gpu_->dtype.itemsize()) : int64_t(array().itemsize()); }
    int64_t stride_bytes(int64_t d) const {
        return gpu_ ? gpu_->strides[size_t(d)] * itemsize() : int64_t(array().strides(py::ssize_t(d)));
    }
    int64_t size() const { return gpu_ ? gpu_->size() : int64_t(array().size()); }
    size_t nbytes() const { return size_t(size() * itemsize()); }
    const void* data() const { return gpu_ ? gpu_->data : array().data(); }
    void* mutable_data() { return gpu_ ? gpu_->data : array().mutable_data(); }
    bool is_contiguous() const { return gpu_ ? gpu_->contiguous() : (array().flags() & py::array::c_style) != 0; }
    bool is(const AnyArray& other) const { return object_.is(other.object_); }
    AnyArray transposed() const { return of(object_.attr("T")); }
    AnyArray operator+(const AnyArray& other) const { return of(object_ + other.object_); }
    void clear() { clear_memory(device(), mutable_data(), nbytes()); }

    // Of an object that is a GpuArray or what NumPy takes for an array; `name` for the error.
    static AnyArray of(py::object x, const char* name = "argument") {
        if (py::isinstance<GpuArray>(x)) return AnyArray(std::move(x));
        py::array a = py::array::ensure(x);
        if (!a) throw py::type_error(std::string(name) + " is not an array");
        return AnyArray(std::move(a));
    }

  private:
    py::array array() const { return py::reinterpret_borrow<py::array>(object_); }

    py::object object_;
    GpuArray* gpu_ = nullptr;  // object_ owns it; null: object_ is a NumPy array
};

}  // namespace unsupfast::bind

// What NumPy takes for an array is one here; so is a GpuArray.
template <>
struct pybind11::detail::type_caster<unsupfast::bind::AnyArray> {
    PYBIND11_TYPE_CASTER(unsupfast::bind::AnyArray, const_name("numpy.typing.NDArray[typing.Any] | GpuArray"));
    bool load(handle from, bool convert) {
        if (isinstance<unsupfast::bind::GpuArray>(from)) {
            value = unsupfast::bind::AnyArray(reinterpret_borrow<object>(from));
            return true;
        }
        if (!convert && !isinstance<array>(from)) return false;
        array a = array::ensure(from);
        if (!a) return false;
        value = unsupfast::bind::AnyArray(std::move(a));
        return true;
    }
    static handle cast(const unsupfast::bind::AnyArray& a, return_value_policy, handle) {
        return object(a.object()).release();
    }
};
