// Elementwise functions and reductions over arrays on any device, generated from the table. They are called often and
// on small arrays, so the way from an array to the kernel is short: NumPy's structures are read as they are, and what
// is no plain array of float32 or float64 is made one first (`ready`).
#include "bind/common.h"
#include "kernels/elementwise/op.h"
#include "kernels/reduce/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

using Numpy = py::detail::npy_api;
constexpr int kAxes = 64;              // NumPy's most
constexpr int kGpuAxes = 8;            // ours on a GPU
constexpr size_t kPooled = 1 << 16;    // bytes from which results live in the pool
constexpr int64_t kRelease = 1 << 15;  // elements from which Python may go on meanwhile

constexpr int kNumber = -1;

// An operand as it lies: an array, or a number that takes the other operand's type.
struct Operand {
    const char* data = nullptr;
    int axes = 0;
    const py::ssize_t *shape = nullptr, *strides = nullptr;  // strides in bytes
    int type = kNumber;                                      // NumPy's number of the type
    double number = 0;
    Device device;
    std::array<py::ssize_t, kGpuAxes> gpu_shape, gpu_strides;  // what shape and strides point to on a GPU

    int64_t extent(int axis, int of) const { return axis < of - axes ? 1 : int64_t(shape[axis - (of - axes)]); }
    int64_t stride(int axis, int of) const { return extent(axis, of) == 1 ? 0 : int64_t(strides[axis - (of - axes)]); }
};

bool is_float(int type) { return type == Numpy::NPY_FLOAT_ || type == Numpy::NPY_DOUBLE_; }

// False for what has to be made an array of floats first.
bool read(PyObject* x, Operand& o) {
    const auto& api = Numpy::get();
    if (PyObject_TypeCheck(x, api.PyArray_Type_)) {
        const auto* array = py::detail::array_proxy(x);
        const auto* descr = py::detail::array_descriptor_proxy(array->descr);
        const int item = descr->type_num == Numpy::NPY_DOUBLE_ ? 8 : 4;
        if (!(array->flags & Numpy::NPY_ARRAY_ALIGNED_) || (descr->byteorder != '=' && descr->byteorder != '|'))
            return false;
        if (!is_float(descr->type_num) && descr->type_num != Numpy::NPY_BOOL_) return false;
        for (int i = 0; i < array->nd; ++i)
            if (array->strides[i] % item && descr->type_num != Numpy::NPY_BOOL_) return false;
        o.data = array->data;
        o.axes = array->nd;
        o.shape = array->dimensions;
        o.strides = array->strides;
        o.type = descr->type_num;
        return true;
    }
    if (py::isinstance<GpuArray>(x)) {
        const auto& a = py::cast<const GpuArray&>(py::handle(x));
        check(a.shape.size() <= kGpuAxes, "arrays on a GPU have at most 8 axes here");
        const int64_t item = int64_t(a.dtype.itemsize());
        o.data = a.data;
        o.axes = int(a.shape.size());
        for (int d = 0; d < o.axes; ++d) {
            o.gpu_shape[size_t(d)] = a.shape[size_t(d)];
            o.gpu_strides[size_t(d)] = a.strides[size_t(d)] * item;
        }
        o.shape = o.gpu_shape.data();
        o.strides = o.gpu_strides.data();
        o.type = a.dtype.num();
        o.device = a.device;
        return is_float(o.type) || o.type == Numpy::NPY_BOOL_;
    }
    if (PyFloat_CheckExact(x)) {
        o.number = PyFloat_AS_DOUBLE(x);
    } else if (PyLong_CheckExact(x)) {
        o.number = PyLong_AsDouble(x);
        if (o.number == -1 && PyErr_Occurred()) throw py::error_already_set();
    } else {
        return false;
    }
    o.type = kNumber;
    return true;
}

const py::module_& numpy() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::module_> storage;
    return storage.call_once_and_store_result([] { return py::module_::import("numpy"); }).get_stored();
}

// The operands as arrays of the type that NumPy would compute in; float64 for integers and Booleans.
template <size_t kCount>
void make_ready(std::array<py::object, kCount>& xs, const char* name) {
    py::tuple args(kCount);
    for (size_t i = 0; i < kCount; ++i) {
        // numbers stay numbers, so that they do not widen the other operand
        const bool number = PyFloat_CheckExact(xs[i].ptr()) || PyLong_CheckExact(xs[i].ptr());
        if (!number && !py::isinstance<py::array>(xs[i])) xs[i] = numpy().attr("asarray")(xs[i]);
        args[i] = xs[i];
    }
    py::object type = numpy().attr("result_type")(*args);
    const char kind = type.attr("kind").cast<std::string>()[0];
    const auto size = type.attr("itemsize").cast<int>();
    if (kind == 'b' || kind == 'i' || kind == 'u')
        type = numpy().attr("dtype")("float64");
    else if (kind != 'f' || (size != 4 && size != 8))
        throw py::type_error(std::string(name) + " got operands of dtype " + py::str(type).cast<std::string>() +
                             "; expected float32 or float64");
    type = type.attr("newbyteorder")("=");
    for (auto& x : xs) x = numpy().attr("require")(x, type, "A");
}

// Operands beside one on a GPU: numbers of NumPy as Python's; other arrays on the CPU do not mix.
template <size_t kCount>
void make_ready_on_gpu(std::array<py::object, kCount>& xs, const char* name) {
    for (py::object& x : xs) {
        if (py::isinstance<GpuArray>(x) || PyFloat_CheckExact(x.ptr()) || PyLong_CheckExact(x.ptr())) continue;
        if (py::isinstance<py::array>(x) && x.attr("ndim").cast<int>() > 0)
            throw py::type_error(std::string(name) + " got operands on a GPU and on the CPU; move one with to_gpu");
        x = py::float_(x);
    }
}

// A new array of an extent and stride (in bytes, none: C order) for every axis.
py::object new_result(int type, int axes, const py::ssize_t* shape, const py::ssize_t* strides, Device device) {
    const auto& api = Numpy::get();
    if (device.is_gpu()) {
        const std::vector<int64_t> extents(shape, shape + axes);
        AnyArray y(type == Numpy::NPY_DOUBLE_ ? py::dtype::of<double>() : py::dtype::of<float>(), extents, device);
        if (strides) {
            auto& array = py::cast<GpuArray&>(y.object());
            for (int d = 0; d < axes; ++d) array.strides[size_t(d)] = strides[d] / py::ssize_t(y.itemsize());
        }
        return y.object();
    }
    size_t bytes = type == Numpy::NPY_DOUBLE_ ? 8 : 4;
    for (int i = 0; i < axes; ++i) bytes *= size_t(shape[i]);
    void* data = nullptr;
    py::object owner;
    if (bytes >= kPooled) {
        data = take_memory(bytes);
        owner = py::capsule(data, give_memory_back);
    }
    auto* dims = reinterpret_cast<const Py_intptr_t*>(shape);
    auto y = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
        api.PyArray_Type_, api.PyArray_DescrFromType_(type), axes, dims, reinterpret_cast<const Py_intptr_t*>(strides),
        data, data ? Numpy::NPY_ARRAY_WRITEABLE_ : 0, nullptr));
    if (!y) throw py::error_already_set();
    if (data) api.PyArray_SetBaseObject_(y.ptr(), owner.release().ptr());
    return y;
}

std::string shape_text(const Operand& o) {
    std::string s = "(";
    for (int i = 0; i < o.axes; ++i) s += (i ? ", " : "") + std::to_string(o.shape[i]);
    return s + (o.axes == 1 ? ",)" : ")");
}

void set_stride(int64_t (&to)[kRank], const int64_t* from, int axes, int64_t item) {
    for (int d = 0; d < kRank; ++d) to[d] = d < kRank - axes ? 0 : from[d - (kRank - axes)] / item;
}

// f of up to two operands, and where's condition.
template <size_t kCount>
py::object elementwise(Elementary f, const char* name, std::array<py::object, kCount> xs, const py::object* chosen) {
    constexpr int kMost = int(kCount) + 1;
    Operand o[kMost];
    int type = kNumber;
    bool ready = true;
    bool on_gpu = false;
    for (const py::object& x : xs) on_gpu = on_gpu || py::isinstance<GpuArray>(x);
    if (on_gpu) make_ready_on_gpu(xs, name);
    for (size_t i = 0; i < kCount && ready; ++i) {
        ready = read(xs[i].ptr(), o[i]) && o[i].type != Numpy::NPY_BOOL_;
        if (ready && o[i].type != kNumber) {
            ready = type == kNumber || o[i].type == type;
            type = o[i].type;
        }
    }
    if (on_gpu && !ready)
        throw py::type_error(std::string(name) + " got operands of different dtypes, or not of float32 or float64");
    if (!ready || type == kNumber) {
        make_ready(xs, name);
        for (size_t i = 0; i < kCount; ++i) {
            o[i] = Operand();
            if (!read(xs[i].ptr(), o[i])) throw py::type_error(std::string(name) + ": operands of unknown type");
        }
        type = o[0].type;
    }
    int count = int(kCount);
    py::object condition;
    if (chosen) {
        condition = *chosen;
        if (on_gpu) {
            if (!read(condition.ptr(), o[count]) || o[count].type != Numpy::NPY_BOOL_)
                throw py::type_error(std::string(name) + ": the condition is no Boolean array on the GPU");
        } else if (!py::isinstance<py::array>(condition) || !read(condition.ptr(), o[count]) ||
                   o[count].type != Numpy::NPY_BOOL_) {
            condition = numpy().attr("asarray")(condition, "bool");
            read(condition.ptr(), o[count]);
        }
        ++count;
    }
    const int64_t item = type == Numpy::NPY_DOUBLE_ ? 8 : 4;
    Device device;
    for (int i = 0; i < count; ++i) {
        if (o[i].type == kNumber) continue;
        if (on_gpu && device.is_gpu() && o[i].device != device)
            throw py::value_error(std::string(name) + " got operands on different GPUs");
        device = o[i].device;
    }

    // the result's shape
    int axes = 0;
    for (int i = 0; i < count; ++i) axes = std::max(axes, o[i].axes);
    py::ssize_t shape[kAxes];
    int64_t total = 1;
    for (int d = 0; d < axes; ++d) {
        int64_t n = 1;
        for (int i = 0; i < count; ++i) {
            const int64_t e = o[i].extent(d, axes);
            if (e == 1 || e == n) continue;
            if (n != 1) {
                std::string shapes;
                for (int j = 0; j < count; ++j) shapes += (j ? " and " : "") + shape_text(o[j]);
                throw py::value_error(std::string(name) + " got operands of shapes " + shapes +
                                      ", which do not broadcast");
            }
            n = e;
        }
        shape[d] = py::ssize_t(n);
        total *= n;
    }

    // Axes from the slowest to the fastest, as the operands lie (NumPy's order "K"); then those that can be walked as
    // one are joined.
    int order[kAxes];
    bool turned = false;
    for (int d = 0; d < axes; ++d) {
        int at = d;
        order[d] = d;
        for (; at > 0; --at) {
            bool slower = false;  // does axis d come before order[at - 1]?
            for (int i = 0; i < count; ++i) {
                const int64_t s = std::abs(o[i].stride(d, axes)), t = std::abs(o[i].stride(order[at - 1], axes));
                if (!s || !t || s == t) continue;
                slower = s > t;
                break;
            }
            if (!slower) break;
            std::swap(order[at], order[at - 1]);
            turned = true;
        }
    }
    py::ssize_t strides[kAxes];
    if (turned) {
        py::ssize_t step = py::ssize_t(item);
        for (int k = axes - 1; k >= 0; --k) {
            strides[order[k]] = step;
            step *= std::max<py::ssize_t>(1, shape[order[k]]);
        }
    }
    int64_t extent[kAxes], stride[3][kAxes];
    int rank = 0;
    for (int k = 0; k < axes; ++k) {
        const int d = order[k];
        if (shape[d] == 1) continue;
        bool joined = rank > 0;
        for (int i = 0; i < count && joined; ++i)
            joined = stride[i][rank - 1] == o[i].stride(d, axes) * int64_t(shape[d]);
        if (!joined) extent[rank++] = 1;
        extent[rank - 1] *= int64_t(shape[d]);
        for (int i = 0; i < count; ++i) stride[i][rank - 1] = o[i].stride(d, axes);
    }
    py::object y = new_result(type, axes, shape, turned ? strides : nullptr, device);
    Elementwise p{};
    p.f = f;
    p.dtype = item == 8 ? DType::f64 : DType::f32;
    const int inner = std::min(rank, kRank), outer = rank - inner;  // what is more is walked here
    for (int d = 0; d < kRank; ++d) p.extent[d] = d < kRank - inner ? 1 : extent[outer + d - (kRank - inner)];
    set_stride(p.a_stride, stride[0] + outer, inner, item);
    if constexpr (kCount == 2) set_stride(p.b_stride, stride[1] + outer, inner, item);
    if (chosen) set_stride(p.condition_stride, stride[kCount] + outer, inner, 1);
    int64_t block = 1, blocks = 1;
    for (int d = 0; d < kRank; ++d) block *= p.extent[d];
    for (int d = 0; d < outer; ++d) blocks *= extent[d];
    for (size_t i = 0; i < kCount; ++i)
        if (o[i].type == kNumber) p.number = o[i].number;
    char* to = device.is_gpu() ? py::cast<GpuArray&>(y).data : py::detail::array_proxy(y.ptr())->data;
    const auto go = [&] {
        for (int64_t k = 0; k < blocks; ++k) {
            int64_t at[3] = {}, rest = k;
            for (int d = outer - 1; d >= 0; --d) {
                for (int i = 0; i < count; ++i) at[i] += rest % extent[d] * stride[i][d];
                rest /= extent[d];
            }
            p.a = o[0].data ? o[0].data + at[0] : nullptr;
            if constexpr (kCount == 2) p.b = o[1].data ? o[1].data + at[1] : nullptr;
            if (chosen) p.condition = reinterpret_cast<const uint8_t*>(o[kCount].data + at[kCount]);
            p.y = to + k * block * item;
            run(p, device);
        }
    };
    if (total >= kRelease) {
        py::gil_scoped_release release;
        go();
    } else if (total > 0) {
        go();
    }
    return y;
}

// The axes that are reduced, as bits.
uint64_t reduced_axes(const py::object& axis, int axes, const char* name) {
    if (axis.is_none()) return axes == 64 ? ~uint64_t(0) : (uint64_t(1) << axes) - 1;
    uint64_t bits = 0;
    const auto take = [&](const py::handle& h) {
        int64_t d = PyLong_AsLongLong(py::reinterpret_steal<py::object>(PyNumber_Index(h.ptr())).ptr());
        if (PyErr_Occurred()) throw py::error_already_set();
        if (d < -axes || d >= axes)
            throw py::value_error(std::string(name) + ": axis is " + std::to_string(d) + "; the array has " +
                                  std::to_string(axes) + (axes == 1 ? " axis" : " axes"));
        d += d < 0 ? axes : 0;
        check(!(bits >> d & 1), std::string(name) + ": axis " + std::to_string(d) + " is given twice");
        bits |= uint64_t(1) << d;
    };
    if (PyLong_Check(axis.ptr()) || !py::isinstance<py::sequence>(axis))
        take(axis);
    else
        for (const auto& h : axis.cast<py::sequence>()) take(h);
    return bits;
}

py::object reduce(Reduction f, bool mean, const char* name, py::object x, const py::object& axis, bool keepdims) {
    Operand o;
    if (!read(x.ptr(), o) || !is_float(o.type)) {
        if (py::isinstance<GpuArray>(x)) throw py::type_error(std::string(name) + " needs float32 or float64 on a GPU");
        std::array<py::object, 1> one{x};
        make_ready(one, name);
        x = one[0];
        read(x.ptr(), o);
    }
    const Device device = o.device;
    bool turned = false;
    if (device.is_gpu()) {
        x = x.attr("contiguous")();
    } else {
        const int flags = py::detail::array_proxy(x.ptr())->flags;
        // an array in Fortran's order is one in C's order with its axes backwards
        turned = (flags & py::array::f_style) && !(flags & py::array::c_style);
        if (!turned && !(flags & py::array::c_style)) x = numpy().attr("ascontiguousarray")(x);
    }
    read(x.ptr(), o);
    const int axes = o.axes;
    const uint64_t bits = reduced_axes(axis, axes, name);
    const int64_t item = o.type == Numpy::NPY_DOUBLE_ ? 8 : 4;
    py::ssize_t shape[kAxes], strides[kAxes];
    int64_t count = 1;
    int kept = 0;
    for (int d = 0; d < axes; ++d) {
        const bool gone = bits >> d & 1;
        if (gone) count *= int64_t(o.shape[d]);
        if (!gone || keepdims) shape[kept++] = gone ? 1 : o.shape[d];
    }
    check(f == Reduction::sum || count > 0, std::string(name) + " of no elements is not defined");
    py::ssize_t step = py::ssize_t(item);
    for (int d = 0; d < kept; ++d) {
        strides[d] = step;
        step *= std::max<py::ssize_t>(1, shape[d]);
    }
    py::object y = new_result(o.type, kept, shape, turned ? strides : nullptr, device);

    // runs of neighbouring axes of the same kind, from the slowest; each run that goes is a reduction
    std::array<std::pair<int64_t, bool>, kAxes> runs;
    int n = 0;
    for (int k = 0; k < axes; ++k) {
        const int d = turned ? axes - 1 - k : k;
        const bool gone = bits >> d & 1;
        if (o.shape[d] == 1) continue;
        if (n && runs[size_t(n - 1)].second == gone)
            runs[size_t(n - 1)].first *= int64_t(o.shape[d]);
        else
            runs[size_t(n++)] = {int64_t(o.shape[d]), gone};
    }
    int left = 0;
    int64_t total = 1;
    for (int k = 0; k < n; ++k) {
        left += runs[size_t(k)].second;
        total *= runs[size_t(k)].first;
    }
    const double scale = mean ? 1.0 / double(count) : 1.0;
    const DType dtype = item == 8 ? DType::f64 : DType::f32;
    void* to = device.is_gpu() ? py::cast<GpuArray&>(y).data : py::detail::array_proxy(y.ptr())->data;
    std::shared_ptr<void> before, after;
    const void* from = o.data;
    const auto go = [&] {
        if (left == 0) {  // nothing to add up, but numbers to copy
            run(Reduce{f, total, 1, 1, from, scale, to, dtype}, device);
            return;
        }
        int64_t inner = 1;
        for (int k = n - 1; k >= 0; --k) {
            const auto [length, gone] = runs[size_t(k)];
            if (!gone) {
                inner *= length;
                continue;
            }
            int64_t outer = 1;
            for (int j = 0; j < k; ++j) outer *= runs[size_t(j)].first;
            --left;
            if (left) after = memory_on(device, size_t(outer * inner * item));
            run(Reduce{f, outer, length, inner, from, left ? 1.0 : scale, left ? after.get() : to, dtype}, device);
            before.swap(after);
            from = before.get();
        }
    };
    if (total >= kRelease) {
        py::gil_scoped_release release;
        go();
    } else {
        go();
    }
    return y;
}

template <Elementary kF>
py::object unary(py::object a) {
    static constexpr const char* kName =
#define F(name, cost, value) kF == Elementary::name ? #name:
        USF_UNARY(F) "";
#undef F
    return elementwise<1>(kF, kName, {std::move(a)}, nullptr);
}

template <Elementary kF>
py::object binary(py::object a, py::object b) {
    static constexpr const char* kName =
#define F(name, cost, value) kF == Elementary::name ? #name:
        USF_BINARY(F) "";
#undef F
    return elementwise<2>(kF, kName, {std::move(a), std::move(b)}, nullptr);
}

}  // namespace

void bind_elementwise(py::module_& m) {
    using namespace py::literals;
#define F(name, cost, value) m.def(#name, &unary<Elementary::name>, "a"_a, py::pos_only(), "Of every element: " #value);
    USF_UNARY(F)
#undef F
#define F(name, cost, value)                   \
    if (Elementary::name != Elementary::power) \
        m.def(#name, &binary<Elementary::name>, "a"_a, "b"_a, py::pos_only(), "Of every element: " #value);
    USF_BINARY(F)
#undef F
    m.def(
        "power",
        [](py::object a, double exponent) { return binary<Elementary::power>(std::move(a), py::float_(exponent)); },
        "a"_a, "exponent"_a, "a to a constant power.");
    m.def(
        "where",
        [](const py::object& condition, py::object a, py::object b) {
            return elementwise<2>(Elementary::where, "where", {std::move(a), std::move(b)}, &condition);
        },
        "condition"_a, "a"_a, "b"_a, "a where the condition holds, else b.");
    m.def(
        "sum",
        [](py::object a, const py::object& axis, bool keepdims) {
            return reduce(Reduction::sum, false, "sum", std::move(a), axis, keepdims);
        },
        "a"_a, "axis"_a = py::none(), "keepdims"_a = false, "Sum over axes.");
    m.def(
        "mean",
        [](py::object a, const py::object& axis, bool keepdims) {
            return reduce(Reduction::sum, true, "mean", std::move(a), axis, keepdims);
        },
        "a"_a, "axis"_a = py::none(), "keepdims"_a = false, "Mean over axes.");
    m.def(
        "tally",
        [](AnyArray totals, const std::vector<AnyArray>& values, double weight) {
            const Device device = totals.device();
            contiguous(totals, "totals", DType::f64, {int64_t(values.size())}, device);
            check(values.size() <= size_t(kTallied), "more values than one tally takes");
            Tally p{int64_t(values.size()), {}, weight, static_cast<double*>(totals.mutable_data()), DType::f32};
            for (size_t i = 0; i < values.size(); ++i) {
                const DType dtype = dtype_of(values[i], "values");
                check(values[i].size() == 1 && values[i].device() == device && (i == 0 || dtype == p.dtype),
                      "values are no single numbers of one dtype where totals are");
                p.x[i] = values[i].data();
                p.dtype = dtype;
            }
            run(p, device);
        },
        "totals"_a, "values"_a, "weight"_a, "Adds numbers, weighted, to running sums.");
    m.def(
        "max",
        [](py::object a, const py::object& axis, bool keepdims) {
            return reduce(Reduction::max, false, "max", std::move(a), axis, keepdims);
        },
        "a"_a, "axis"_a = py::none(), "keepdims"_a = false, "Maximum over axes.");
}

}  // namespace unsupfast::bind
