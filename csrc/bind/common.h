// What the binding files share: dtypes, checked arrays, and calling Python from long loops.
#pragma once
#include <pybind11/stl.h>

#include <chrono>
#include <functional>
#include <string>

#include "bind/any_array.h"
#include "kernels/rbm/op.h"

namespace unsupfast::bind {

inline DType dtype_of(const AnyArray& a, const char* name) {
    switch (a.dtype().num()) {
        case py::dtype::num_of<float>():
            return DType::f32;
        case py::dtype::num_of<double>():
            return DType::f64;
        default:
            break;
    }
    throw py::type_error(std::string(name) + " has dtype " + py::str(a.dtype()).cast<std::string>() +
                         "; expected float32 or float64");
}

inline py::dtype numpy_dtype(DType t) { return t == DType::f64 ? py::dtype::of<double>() : py::dtype::of<float>(); }

inline AnyArray new_array(DType t, const std::vector<int64_t>& shape, Device device = {}) {
    return AnyArray(numpy_dtype(t), shape, device);
}

inline DType dtype_from(const std::string& name, const char* argument) {
    if (name == "float32") return DType::f32;
    if (name == "float64") return DType::f64;
    throw py::value_error(std::string(argument) + " is '" + name + "'; expected 'float32' or 'float64'");
}

// The format of the multiplication for operands of dtype.
inline DType format_from(const std::string& precision, DType dtype) {
    if (precision == "bfloat16" || precision == "int16") {
        if (dtype == DType::f64) throw py::value_error("precision '" + precision + "' needs float32 data, got float64");
        return precision == "int16" ? DType::i16 : DType::bf16;
    }
    if (precision == "float32" || precision == "float64") {
        if ((precision == "float64") != (dtype == DType::f64))
            throw py::value_error("precision '" + precision + "' does not match the dtype of the data");
        return dtype;
    }
    throw py::value_error("precision is '" + precision + "'; expected 'float32', 'float64', 'bfloat16' or 'int16'");
}

inline void check(bool ok, const std::string& message) {
    if (!ok) throw py::value_error(message);
}

inline std::string shape_of(const AnyArray& a) {
    std::string s = "(";
    for (int64_t i = 0; i < a.ndim(); ++i) s += (i ? ", " : "") + std::to_string(a.shape(i));
    return s + ")";
}

// `a` if it is C-contiguous, of that dtype and shape (-1: any) and on that device, or a ValueError/TypeError naming it.
inline AnyArray contiguous(const AnyArray& a, const char* name, DType dtype, const std::vector<int64_t>& shape,
                           Device device = {}) {
    if (dtype_of(a, name) != dtype) throw py::type_error(std::string(name) + " has the wrong dtype");
    if (a.device() != device) {
        const auto place = [](Device d) {
            return d.is_gpu() ? "GPU " + std::to_string(d.gpu) : std::string("the CPU");
        };
        throw py::value_error(std::string(name) + " is on " + place(a.device()) + "; expected an array on " +
                              place(device));
    }
    bool ok = a.ndim() == int64_t(shape.size()) && a.is_contiguous();
    for (size_t i = 0; i < shape.size() && ok; ++i) ok = shape[i] < 0 || a.shape(int64_t(i)) == shape[i];
    if (ok) return a;
    std::string expected;
    for (size_t i = 0; i < shape.size(); ++i)
        expected += (i ? ", " : "") + (shape[i] < 0 ? std::string("n") : std::to_string(shape[i]));
    throw py::value_error(std::string(name) + " has shape " + shape_of(a) +
                          "; expected a C-contiguous array of shape (" + expected + ")");
}

// A clock of random numbers: one int64 on the GPU, of which the low half counts; see Draw.
inline const uint32_t* clock_of(const py::object& clock, Device device) {
    if (clock.is_none()) return nullptr;
    const auto a = clock.cast<AnyArray>();
    check(a.size() == 1 && a.itemsize() == 8 && a.device() == device, "clock is no int64 where the data are");
    return static_cast<const uint32_t*>(a.data());
}

inline Unit unit_from(const std::string& kind, const std::string& name) {
    static constexpr std::pair<const char*, Unit> kinds[] = {{"bernoulli", Unit::bernoulli},
                                                             {"gaussian", Unit::gaussian},
                                                             {"spin", Unit::spin},
                                                             {"relu", Unit::relu},
                                                             {"drelu", Unit::drelu},
                                                             {"softmax", Unit::softmax},
                                                             {"multinomial", Unit::multinomial}};
    for (const auto& [known, unit] : kinds)
        if (kind == known) return unit;
    throw py::value_error(name + " has units of the unknown kind '" + kind + "'");
}

// A checked CSR matrix: (indptr int64, indices int32 sorted within rows, values).
struct CsrArgument {
    int64_t rows;
    const int64_t* indptr;
    const int32_t* indices;
    const void* values;
    py::object owner;
    Device device;
};

inline CsrArgument csr_argument(const py::tuple& t, DType dtype, int64_t cols, const std::string& name) {
    check(t.size() == 3, name + ": CSR is (indptr, indices, values)");
    if (py::isinstance<GpuArray>(t[2])) {  // checked before it was copied there
        const AnyArray values{py::object(t[2])}, indices{py::object(t[1])}, indptr{py::object(t[0])};
        contiguous(values, name.c_str(), dtype, {-1}, values.device());
        check(indptr.itemsize() == 8 && indices.itemsize() == 4 && indices.size() == values.size() &&
                  indices.device() == values.device() && indptr.device() == values.device(),
              name + ": CSR arrays on a GPU do not fit each other");
        return {indptr.size() - 1,
                static_cast<const int64_t*>(indptr.data()),
                static_cast<const int32_t*>(indices.data()),
                values.data(),
                t,
                values.device()};
    }
    const auto indptr = py::array_t<int64_t, py::array::c_style>::ensure(t[0]);
    const auto indices = py::array_t<int32_t, py::array::c_style>::ensure(t[1]);
    const auto values = py::array::ensure(t[2], py::array::c_style);
    check(bool(indptr) && bool(indices) && bool(values), name + ": CSR needs three arrays");
    contiguous(values, name.c_str(), dtype, {-1});
    const int64_t n = indptr.size() - 1, nnz = values.size();
    check(n >= 0 && indices.size() == nnz && indptr.at(0) == 0 && indptr.at(n) == nnz, name + ": CSR sizes disagree");
    const int64_t* p = indptr.data();
    const int32_t* j = indices.data();
    for (int64_t i = 0; i < n; ++i) check(p[i] <= p[i + 1], name + ": CSR indptr decreases");
    for (int64_t i = 0; i < n; ++i)
        for (int64_t e = p[i]; e < p[i + 1]; ++e)
            check(j[e] >= 0 && j[e] < cols && (e == p[i] || j[e - 1] < j[e]),
                  name + ": CSR indices are out of range or not strictly increasing within a row");
    return {n, p, j, values.data(), py::make_tuple(indptr, indices, values), {}};
}

// Wraps a function that returns an array of n uniforms for a loop that runs without the GIL.
class UniformSource {
  public:
    explicit UniformSource(py::object function) : function_(std::move(function)) {}
    std::function<const double*(int64_t)> function() {
        return [this](int64_t n) -> const double* {
            py::gil_scoped_acquire gil;
            try {
                array_ = function_(n);
                return static_cast<const double*>(contiguous(array_, "uniforms", DType::f64, {n}).data());
            } catch (...) {
                error_ = std::current_exception();
                return nullptr;
            }
        };
    }
    void rethrow() {
        if (error_) std::rethrow_exception(error_);
    }

  private:
    py::object function_;
    py::array array_;
    std::exception_ptr error_;
};

// Wraps a Python callback for a loop that runs without the GIL: called at most every 50 ms and after the
// last unit of work; it also lets Ctrl-C through. A callback that returns False or raises stops the loop.
class Ticker {
  public:
    Ticker(py::object callback, int64_t total) : callback_(std::move(callback)), total_(total) {}
    std::function<bool(int64_t)> function() {
        return [this](int64_t done) {
            const auto now = Clock::now();
            if (done < total_ && now - last_ < std::chrono::milliseconds(50)) return true;
            last_ = now;
            py::gil_scoped_acquire gil;
            try {
                if (PyErr_CheckSignals() != 0) throw py::error_already_set();
                if (!callback_.is_none()) {
                    const py::object answer = callback_(done);
                    if (answer.ptr() == Py_False) return false;
                }
                return true;
            } catch (py::error_already_set& e) {
                error_ = std::make_unique<py::error_already_set>(std::move(e));
                return false;
            }
        };
    }
    // With the GIL held again: raise what the callback raised.
    void rethrow() {
        if (error_) throw std::move(*error_);
    }

  private:
    using Clock = std::chrono::steady_clock;
    py::object callback_;
    int64_t total_;
    Clock::time_point last_ = Clock::now();
    std::unique_ptr<py::error_already_set> error_;
};

}  // namespace unsupfast::bind
