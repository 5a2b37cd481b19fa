// What the bindings of machines share: rows of data, layers, arrays that go in and out.
#pragma once
#include "bind/common.h"
#include "rbm/rbm.h"

namespace unsupfast::bind {

// C-contiguous (n, cols) array, or a CSR tuple (indptr int64, indices int32 sorted, values).
struct RowsArgument {
    Rows rows;
    py::object owner;
};

inline RowsArgument rows_argument(const py::object& x, DType dtype, int64_t cols, const char* name) {
    if (py::isinstance<py::tuple>(x)) {
        const CsrArgument csr = csr_argument(x.cast<py::tuple>(), dtype, cols, name);
        return {{csr.rows, csr.values, 0, csr.indptr, csr.indices, csr.device}, csr.owner};
    }
    const AnyArray a = AnyArray::of(x, name);
    contiguous(a, name, dtype, {-1, cols}, a.device());
    return {{a.shape(0), a.data(), cols, nullptr, nullptr, a.device()}, a.object()};
}

// Rows where the machine is: those given, or a copy that lives as long as this.
class RowsThere {
  public:
    RowsThere(const Rbm& r, const RowsArgument& given) : RowsThere(r.device, r.dtype, given) {}
    RowsThere(Device device, DType dtype, const RowsArgument& given) : rows_(given.rows), device_(device) {
        const Rows& x = given.rows;
        if (x.device == device) return;
        check(!x.device.is_gpu(), "X is on a GPU and the machine is not");
        rows_.device = device;
        if (!x.indptr) {
            rows_.data = copy(x.data, size_t(x.count * x.row_stride * element_size(dtype)));
            return;
        }
        const int64_t entries = x.indptr[x.count];
        rows_.data = copy(x.data, size_t(entries * element_size(dtype)));
        rows_.indptr = static_cast<const int64_t*>(copy(x.indptr, size_t(x.count + 1) * 8));
        rows_.indices = static_cast<const int32_t*>(copy(x.indices, size_t(entries) * 4));
    }
    const Rows& rows() const { return rows_; }

  private:
    const void* copy(const void* from, size_t bytes) {
        kept_.push_back(memory_on(device_, bytes));
        copy_memory(device_, kept_.back().get(), {}, from, bytes);
        return kept_.back().get();
    }
    Rows rows_;
    Device device_;
    std::vector<std::shared_ptr<void>> kept_;
};

inline AnyArray copy_of(const AnyArray& a) { return AnyArray::of(a.object().attr("copy")()); }

inline AnyArray array_of(const Array& a, DType dtype, const std::vector<int64_t>& shape) {
    AnyArray out = new_array(dtype, shape);
    copy_memory({}, out.mutable_data(), a.device(), a.data(), out.nbytes());
    return out;
}

// Units as (kind, how many, units of a group) side by side.
using Parts = std::vector<std::tuple<std::string, int64_t, int64_t>>;

inline Layer layer_from(const Parts& parts, const char* name) {
    Layer layer;
    int64_t end = 0;
    for (const auto& [kind, size, group] : parts) {
        check(size > 0 && group > 0 && size % group == 0, std::string(name) + " has a part of no whole groups");
        layer.segments.push_back({unit_from(kind, name), end, end + size, group});
        end += size;
    }
    check(end > 0, std::string(name) + " needs at least one unit");
    return layer;
}

inline void copy_into(Array& to, const AnyArray& from, const char* name, DType dtype) {
    contiguous(from, name, dtype, {to.size()});
    copy_memory(to.device(), to.data(), {}, from.data(), from.nbytes());
}

}  // namespace unsupfast::bind
