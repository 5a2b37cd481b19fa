// GpuArray: arrays on a GPU as Python sees them, copies to and from the CPU, and other libraries' arrays without
// copies.
#include <cstring>

#include "bind/common.h"
#include "bind/dlpack.h"
#include "cuda/feed.h"
#include "cuda/runtime.h"
#include "kernels/elementwise/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

GpuArray& gpu(const py::object& x) { return py::cast<GpuArray&>(x); }

py::tuple tuple_of(const std::vector<int64_t>& numbers, int64_t factor = 1) {
    py::tuple t(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) t[i] = numbers[i] * factor;
    return t;
}

// x in C order, once it is known to hold what a GPU computes with.
py::array plain_numbers(const py::array& x) {
    py::array plain = py::array::ensure(x, py::array::c_style);
    const char kind = plain.dtype().kind();
    check((kind == 'f' || kind == 'b' || kind == 'i' || kind == 'u') && plain.dtype().byteorder() != '>',
          "x has dtype " + py::str(plain.dtype()).cast<std::string>() + "; expected plain numbers");
    return plain;
}

py::object to_gpu(const py::array& x, int device) {
    const py::array plain = plain_numbers(x);
    AnyArray y(plain.dtype(), std::vector<int64_t>(plain.shape(), plain.shape() + plain.ndim()), {device});
    copy_memory({device}, y.mutable_data(), {}, plain.data(), y.nbytes());
    return y.object();
}

py::object put(cuda::Feed& feed, const py::array& x) {
    const py::array plain = plain_numbers(x);
    const std::vector<int64_t> shape(plain.shape(), plain.shape() + plain.ndim());
    std::shared_ptr<void> memory = feed.put(plain.data(), size_t(plain.nbytes()));
    char* data = static_cast<char*>(memory.get());
    return py::cast(
        GpuArray{std::move(memory), data, plain.dtype(), shape, contiguous_strides(shape), {feed.device()}});
}

// A contiguous array of the same values; the array itself where it is one.
py::object contiguous_copy(const py::object& x) {
    const GpuArray& a = gpu(x);
    if (a.contiguous()) return x;
    AnyArray y(a.dtype, a.shape, a.device);
    const size_t item = size_t(a.dtype.itemsize()), axes = a.shape.size();
    // rows of neighbours are copied as they are
    if (axes >= 2 && a.strides[axes - 1] == 1) {
        int64_t rows = 1;
        bool regular = true;
        for (size_t d = axes - 1; d-- > 0;) {
            regular = regular && (d + 2 >= axes || a.strides[d] == a.strides[d + 1] * a.shape[d + 1]);
            rows *= a.shape[d];
        }
        if (regular && a.strides[axes - 2] >= a.shape[axes - 1]) {
            const size_t width = size_t(a.shape[axes - 1]) * item;
            cuda::copy_rows(a.device.gpu, y.mutable_data(), width, a.data, size_t(a.strides[axes - 2]) * item, width,
                            size_t(rows));
            return y.object();
        }
    }
    check(axes <= kRank && (item == 4 || item == 8) && a.dtype.kind() == 'f',
          "only float32 and float64 of up to 4 axes can be brought into order on a GPU");
    Elementwise p{};
    p.f = Elementary::mul;  // by 1: every value stays what it is
    p.number = 1;
    for (size_t d = 0; d < kRank; ++d) {
        const bool there = d >= kRank - axes;
        p.extent[d] = there ? a.shape[d - (kRank - axes)] : 1;
        p.a_stride[d] = there ? a.strides[d - (kRank - axes)] : 0;
    }
    p.a = a.data;
    p.y = y.mutable_data();
    p.dtype = item == 8 ? DType::f64 : DType::f32;
    run(p, a.device);
    return y.object();
}

py::array to_numpy(const py::object& x) {
    const py::object plain = contiguous_copy(x);
    const GpuArray& a = gpu(plain);
    AnyArray y(a.dtype, a.shape, {});
    copy_memory({}, y.mutable_data(), a.device, a.data, y.nbytes());
    return py::reinterpret_borrow<py::array>(y.object());
}

py::object view(const GpuArray& a, char* data, std::vector<int64_t> shape, std::vector<int64_t> strides) {
    return py::cast(GpuArray{a.memory, data, a.dtype, std::move(shape), std::move(strides), a.device});
}

py::object reshape(const py::object& x, const py::args& args) {
    const py::sequence wanted =
        args.size() == 1 && py::isinstance<py::sequence>(args[0]) ? py::sequence(args[0]) : py::sequence(args);
    const py::object plain = contiguous_copy(x);
    const GpuArray& a = gpu(plain);
    std::vector<int64_t> shape;
    int64_t known = 1, open = -1;
    for (const auto& h : wanted) {
        const auto n = h.cast<int64_t>();
        if (n < 0) {
            check(open < 0, "shape leaves two axes open");
            open = int64_t(shape.size());
        } else {
            known *= n;
        }
        shape.push_back(n);
    }
    if (open >= 0) shape[size_t(open)] = known ? a.size() / known : 0;
    int64_t size = 1;
    for (int64_t n : shape) size *= n;
    check(size == a.size(), "an array of " + std::to_string(a.size()) + " elements has no such shape");
    const auto strides = contiguous_strides(shape);
    return view(a, a.data, shape, strides);
}

py::object transposed(const GpuArray& a) {
    return view(a, a.data, {a.shape.rbegin(), a.shape.rend()}, {a.strides.rbegin(), a.strides.rend()});
}

// Repeated along axes of one element, without a copy.
py::object broadcast(const GpuArray& a, const std::vector<int64_t>& shape) {
    check(shape.size() >= a.shape.size(), "an array of more axes was to be broadcast");
    const size_t extra = shape.size() - a.shape.size();
    std::vector<int64_t> strides(shape.size(), 0);
    for (size_t d = 0; d < a.shape.size(); ++d) {
        check(a.shape[d] == 1 || a.shape[d] == shape[d + extra], "an array does not broadcast to this shape");
        strides[d + extra] = a.shape[d] == 1 ? 0 : a.strides[d];
    }
    return view(a, a.data, shape, std::move(strides));
}

py::object copied(const py::object& x) {
    const py::object plain = contiguous_copy(x);
    if (!plain.is(x)) return plain;
    const GpuArray& a = gpu(x);
    AnyArray y(a.dtype, a.shape, a.device);
    copy_memory(a.device, y.mutable_data(), a.device, a.data, y.nbytes());
    return y.object();
}

// All elements one number.
py::object full(const std::vector<int64_t>& shape, double number, const py::object& dtype, int device) {
    AnyArray y(py::dtype::from_args(dtype), shape, {device});
    Elementwise p{};
    p.f = Elementary::maximum;  // of the number and itself
    p.number = number;
    for (int64_t& n : p.extent) n = 1;
    p.extent[kRank - 1] = y.size();
    p.y = y.mutable_data();
    p.dtype = dtype_of(y, "dtype");
    run(p, {device});
    return y.object();
}

// Basic indexing: integers and slices, an axis each, and None.
py::object subscript(const GpuArray& a, const py::object& key) {
    const py::tuple keys = py::isinstance<py::tuple>(key) ? key.cast<py::tuple>() : py::make_tuple(key);
    char* data = a.data;
    std::vector<int64_t> shape, strides;
    size_t d = 0;
    for (const auto& h : keys) {
        if (h.is_none()) {
            shape.push_back(1);
            strides.push_back(0);
            continue;
        }
        if (d >= a.shape.size()) throw py::index_error("too many indices for an array of this shape");
        const int64_t n = a.shape[d], item = int64_t(a.dtype.itemsize());
        if (py::isinstance<py::slice>(h)) {
            py::ssize_t start, stop, step, length;
            if (!py::reinterpret_borrow<py::slice>(h).compute(n, &start, &stop, &step, &length))
                throw py::error_already_set();
            data += start * a.strides[d] * item;
            shape.push_back(length);
            strides.push_back(a.strides[d] * step);
        } else {
            int64_t i = PyLong_AsLongLong(py::reinterpret_steal<py::object>(PyNumber_Index(h.ptr())).ptr());
            if (PyErr_Occurred()) throw py::error_already_set();
            if (i < -n || i >= n) throw py::index_error("index " + std::to_string(i) + " of " + std::to_string(n));
            data += (i < 0 ? i + n : i) * a.strides[d] * item;
        }
        ++d;
    }
    for (; d < a.shape.size(); ++d) {
        shape.push_back(a.shape[d]);
        strides.push_back(a.strides[d]);
    }
    return view(a, data, std::move(shape), std::move(strides));
}

// to[key] = x: rows of neighbours, and x of the same shape and dtype, or a number 0.
void assign(const GpuArray& a, const py::object& key, const py::object& x) {
    const py::object target = subscript(a, key);
    const GpuArray& t = gpu(target);
    const size_t axes = t.shape.size(), item = size_t(t.dtype.itemsize());
    check(py::isinstance<GpuArray>(x), "what is assigned to an array on a GPU has to be one");
    const py::object plain = contiguous_copy(x);
    const GpuArray& from = gpu(plain);
    check(from.shape == t.shape && from.dtype.equal(t.dtype) && from.device == t.device && axes <= 2,
          "what is assigned has another shape, dtype or device, or more than two axes");
    const int64_t cols = axes ? t.shape[axes - 1] : 1, rows = axes == 2 ? t.shape[0] : 1;
    check(cols <= 1 || t.strides[axes - 1] == 1, "only rows of neighbours can be assigned to");
    const size_t width = size_t(cols) * item, step = axes == 2 ? size_t(t.strides[0]) * item : width;
    cuda::copy_rows(t.device.gpu, t.data, step, from.data, width, width, size_t(rows));
}

py::object number(const py::object& x) {
    const GpuArray& a = gpu(x);
    check(a.size() == 1, "an array of " + std::to_string(a.size()) + " elements is no number");
    return to_numpy(x).attr("item")();
}

std::string describe(const py::object& x) {
    const GpuArray& a = gpu(x);
    return "GpuArray(" + py::str(to_numpy(x)).cast<std::string>() + ", dtype=" + py::str(a.dtype).cast<std::string>() +
           ", device='cuda:" + std::to_string(a.device.gpu) + "')";
}

// ---------------------------------------------------------------- other libraries

py::dict interface_of(const GpuArray& a) {
    py::dict d;
    d["shape"] = tuple_of(a.shape);
    d["typestr"] = a.dtype.attr("str");
    d["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(a.data), false);
    d["strides"] = a.contiguous() ? py::object(py::none()) : tuple_of(a.strides, int64_t(a.dtype.itemsize()));
    d["version"] = 3;
    d["stream"] = reinterpret_cast<uintptr_t>(cuda::stream(a.device.gpu));
    return d;
}

// Another library's array, shared: it lives as long as ours does. Our stream waits for what it still has to do.
py::object shared(const py::object& x, int device) {
    if (py::isinstance<GpuArray>(x)) return x;
    if (py::hasattr(x, "__dlpack__")) {
        const py::tuple place = x.attr("__dlpack_device__")();
        check(place[0].cast<int>() == dlpack::kCuda, "x is on no GPU; expected an array on one");
        const int on = place[1].cast<int>();
        const auto stream = reinterpret_cast<uintptr_t>(cuda::stream(on));
        const py::object capsule =
            x.attr("__dlpack__")(py::arg("stream") = stream ? py::object(py::int_(stream)) : py::object(py::none()));
        return dlpack::import(capsule);
    }
    check(py::hasattr(x, "__cuda_array_interface__"), "x has neither __dlpack__ nor __cuda_array_interface__");
    const py::dict d = x.attr("__cuda_array_interface__");
    GpuArray a;
    a.dtype = py::dtype::from_args(d["typestr"]);
    a.device = {device};
    a.shape = d["shape"].cast<std::vector<int64_t>>();
    a.strides = contiguous_strides(a.shape);
    if (d.contains("strides") && !d["strides"].is_none()) {
        a.strides = d["strides"].cast<std::vector<int64_t>>();
        for (int64_t& s : a.strides) s /= int64_t(a.dtype.itemsize());
    }
    a.data = reinterpret_cast<char*>(d["data"].cast<py::tuple>()[0].cast<uintptr_t>());
    if (d.contains("stream") && !d["stream"].is_none())
        cuda::wait_for(device, reinterpret_cast<void*>(d["stream"].cast<uintptr_t>()));
    auto* kept = new py::object(x);
    a.memory = {a.data, [kept](void*) {
                    const py::gil_scoped_acquire gil;
                    delete kept;
                }};
    return py::cast(std::move(a));
}

}  // namespace

void bind_gpu_array(py::module_& m) {
    using namespace py::literals;
    py::class_<GpuArray> c(m, "GpuArray", "An array on a GPU.");
    c.def_property_readonly("shape", [](const GpuArray& a) { return tuple_of(a.shape); })
        .def_property_readonly("dtype", [](const GpuArray& a) -> py::object { return a.dtype; })
        .def_property_readonly("ndim", [](const GpuArray& a) { return a.shape.size(); })
        .def_property_readonly("size", &GpuArray::size)
        .def_property_readonly("nbytes", [](const GpuArray& a) { return a.size() * int64_t(a.dtype.itemsize()); })
        .def_property_readonly("gpu", [](const GpuArray& a) { return a.device.gpu; })
        .def_property_readonly("T", &transposed)
        .def("copy", &copied, "A copy in C order.")
        .def("broadcast_to", &broadcast, "shape"_a, "A view with axes of one element repeated.")
        .def("contiguous", &contiguous_copy, "The array, or a copy in C order.")
        .def("numpy", &to_numpy, "A copy on the CPU.")
        .def("item", &number, "Its one element as a number.")
        .def("reshape", &reshape)
        .def("__getitem__", &subscript)
        .def("__setitem__", &assign)
        .def("__len__",
             [](const GpuArray& a) {
                 if (a.shape.empty()) throw py::type_error("an array without axes has no length");
                 return a.shape[0];
             })
        .def("__float__", [](const py::object& x) { return py::float_(number(x)); })
        .def("__repr__", &describe)
        .def("__array__",
             [](const py::object&, const py::args&, const py::kwargs&) -> py::object {
                 throw py::type_error("an array on a GPU does not become a NumPy array by itself; use its numpy()");
             })
        .def("__reduce__",
             [](const py::object& x) -> py::tuple {  // on the CPU: where it is read there may be no GPU
                 const py::object array = py::module_::import("numpy").attr("array");
                 return py::make_tuple(array, py::make_tuple(to_numpy(x)));
             })
        .def("__dlpack_device__", [](const GpuArray& a) { return py::make_tuple(dlpack::kCuda, a.device.gpu); })
        .def(
            "__dlpack__",
            [](const py::object& x, const py::object& stream, const py::kwargs&) -> py::object {
                return dlpack::export_to(gpu(x), stream);
            },
            "stream"_a = py::none())
        .def_property_readonly("__cuda_array_interface__", &interface_of);
    c.attr("__array_ufunc__") = py::none();  // NumPy's arrays leave arithmetic with ours to us
    // arithmetic through the module's functions, once they are there
    const auto binary = [&](const char* method, const char* function, bool reversed) {
        c.def(method, [m, function, reversed](const py::object& a, const py::object& b) {
            return reversed ? m.attr(function)(b, a) : m.attr(function)(a, b);
        });
    };
    for (const auto& [name, function] : {std::pair("add", "add"), {"sub", "sub"}, {"mul", "mul"}, {"truediv", "div"}}) {
        binary(("__" + std::string(name) + "__").c_str(), function, false);
        binary(("__r" + std::string(name) + "__").c_str(), function, true);
    }
    c.def("__neg__", [m](const py::object& a) { return m.attr("neg")(a); });
    m.def("to_gpu", &to_gpu, "x"_a, "gpu"_a = 0, "A copy on a GPU.");
    m.def("share", &shared, "x"_a, "gpu"_a = 0, "Another library's array on a GPU, without a copy.");
    m.def(
        "gpu_zeros",
        [](const std::vector<int64_t>& shape, const py::object& dtype, int device) {
            AnyArray a(py::dtype::from_args(dtype), shape, {device});
            a.clear();
            return a.object();
        },
        "shape"_a, "dtype"_a, "gpu"_a = 0, "An array of zeros on a GPU.");
    m.def("gpu_full", &full, "shape"_a, "number"_a, "dtype"_a, "gpu"_a = 0, "An array of one number on a GPU.");
    py::class_<cuda::Feed>(m, "Feed", "Copies to a GPU that travel while it computes.")
        .def(py::init<int>(), "gpu"_a)
        .def("put", &put, "x"_a,
             "A copy on the GPU for what is started there before the next put: later ones overwrite it.");
    py::class_<cuda::Graph>(m, "Graph",
                            "What is done on a GPU from here to finish() is recorded, to be done by replay().")
        .def(py::init<int>(), "gpu"_a)
        .def("finish", &cuda::Graph::finish)
        .def("replay", &cuda::Graph::replay);
    m.def("can_record", &cuda::can_record, "Whether graphs can be recorded.");
    m.def("gpu_synchronize", &cuda::synchronize, "gpu"_a = 0, "Waits until a GPU has done what it was given.",
          py::call_guard<py::gil_scoped_release>());
    m.def(
        "gpus",
        [] {
            py::list all;
            std::string reason;
            const int count = cuda::device_count(&reason);
            for (int d = 0; d < count; ++d) {
                const cuda::GpuInfo info = cuda::device_info(d);
                all.append(py::dict("name"_a = info.name,
                                    "capability"_a = std::to_string(info.major) + "." + std::to_string(info.minor),
                                    "multiprocessors"_a = info.multiprocessors, "memory"_a = info.memory,
                                    "reason"_a = info.reason));
            }
            return py::make_tuple(all, reason);
        },
        "The GPUs, each with the reason why it cannot be used (empty where it can); and why there is none.");
}

}  // namespace unsupfast::bind
