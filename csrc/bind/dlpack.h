// DLPack: arrays handed from library to library without a copy. The structures are those of its specification, version
// 0.8 (https://dmlc.github.io/dlpack/latest/c_api.html).
#pragma once
#include "bind/any_array.h"
#include "cuda/runtime.h"

namespace unsupfast::bind::dlpack {

constexpr int kCuda = 2;

struct Type {
    uint8_t code, bits;
    uint16_t lanes;
};
enum Code : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBool = 6 };

struct Tensor {
    void* data;
    int32_t device_type, device_id;
    int32_t ndim;
    Type dtype;
    int64_t *shape, *strides;  // strides in elements; null: C order
    uint64_t byte_offset;
};

struct Managed {
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};

inline Type type_of(const py::dtype& d) {
    const char kind = d.kind();
    const uint8_t code = kind == 'f' ? kFloat : kind == 'b' ? kBool : kind == 'u' ? kUint : kInt;
    return {code, uint8_t(d.itemsize() * 8), 1};
}

inline py::dtype dtype_from(const Type& t) {
    static constexpr const char* names[] = {"i", "u", "f"};
    if (t.lanes != 1 || (t.code > kFloat && t.code != kBool) || t.bits % 8)
        throw py::type_error("DLPack: only plain integers, floats and Booleans can be shared");
    return t.code == kBool ? py::dtype("?") : py::dtype(names[t.code] + std::to_string(t.bits / 8));
}

// For a consumer that works on `stream` (None or 1: the default stream; 2: that of the thread; -1: no waiting).
inline py::capsule export_to(const GpuArray& a, const py::object& stream) {
    const auto number = stream.is_none() ? int64_t(1) : stream.cast<int64_t>();
    if (number != -1) cuda::let_wait(a.device.gpu, reinterpret_cast<void*>(number));
    struct Kept {
        GpuArray array;
        Managed managed;
    };
    auto* kept = new Kept{a, {}};
    Managed& m = kept->managed;
    m.tensor = {a.data,
                kCuda,
                a.device.gpu,
                int32_t(a.shape.size()),
                type_of(a.dtype),
                kept->array.shape.data(),
                kept->array.strides.data(),
                0};
    m.context = kept;
    m.deleter = [](Managed* self) {
        const py::gil_scoped_acquire gil;
        delete static_cast<Kept*>(self->context);
    };
    return py::capsule(&m, "dltensor", [](PyObject* capsule) {
        if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // taken
        auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, "dltensor"));
        managed->deleter(managed);
    });
}

inline py::object import(const py::object& capsule) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (!managed) throw py::error_already_set();
    const Tensor& t = managed->tensor;
    GpuArray a;
    a.dtype = dtype_from(t.dtype);
    a.device = {t.device_id};
    a.shape.assign(t.shape, t.shape + t.ndim);
    a.strides = t.strides ? std::vector<int64_t>(t.strides, t.strides + t.ndim) : contiguous_strides(a.shape);
    a.data = static_cast<char*>(t.data) + t.byte_offset;
    a.memory = {t.data, [managed](void*) {
                    if (managed->deleter) managed->deleter(managed);
                }};
    if (PyCapsule_SetName(capsule.ptr(), "used_dltensor")) throw py::error_already_set();
    return py::cast(std::move(a));
}

}  // namespace unsupfast::bind::dlpack
