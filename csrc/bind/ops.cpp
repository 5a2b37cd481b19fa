// Single operations, for tests and benchmarks: each face checks its arguments, packs, runs one kernel.
#include "array.h"
#include "bind/bits.h"
#include "bind/common.h"
#include "kernels/layout/op.h"
#include "kernels/rbm/op.h"
#include "kernels/units/op.h"
#include "kernels/vector/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

// A dense array (any strides that are multiples of the element), (indptr, indices, values, shape), or a
// Boolean array, which is handed over as bits.
struct LeftArgument {
    Left left;
    int64_t m, k;
    DType dtype;
    Device device;
    py::object owner;
    Bits bits;
};

void check_strides(const AnyArray& a, const char* name) {
    for (int64_t i = 0; i < a.ndim(); ++i)
        check(a.stride_bytes(i) % a.itemsize() == 0,
              std::string(name) + " has strides that are no multiple of its element");
}

// Bits have no dtype of their own: that of the other operand counts.
LeftArgument left_argument(const py::object& x, const char* name, DType of_bits = DType::f32) {
    if (py::isinstance<py::tuple>(x)) {
        const auto t = x.cast<py::tuple>();
        check(t.size() == 4, std::string(name) + ": CSR is (indptr, indices, values, shape)");
        const auto [rows, cols] = t[3].cast<std::pair<int64_t, int64_t>>();
        const DType dtype = dtype_of(AnyArray::of(t[2], name), name);
        const CsrArgument csr = csr_argument(py::make_tuple(t[0], t[1], t[2]), dtype, cols, name);
        check(csr.rows == rows, std::string(name) + ": CSR indptr does not fit the shape");
        const Left left{csr.values, 0, 1, csr.indptr, csr.indices, nullptr};
        return {left, rows, cols, dtype, csr.device, csr.owner, {}};
    }
    const AnyArray a = AnyArray::of(x, name);
    check(a.ndim() == 2, std::string(name) + " has shape " + shape_of(a) + "; expected two dimensions");
    if (is_boolean(a)) {
        LeftArgument out{{}, a.shape(0), a.shape(1), of_bits, a.device(), {}, packed_bits(a)};
        out.left = bit_rows(out.bits.data(), out.k);
        return out;
    }
    const DType dtype = dtype_of(a, name);
    check_strides(a, name);
    return {Left{a.data(), a.stride_bytes(0) / a.itemsize(), a.stride_bytes(1) / a.itemsize()},
            a.shape(0),
            a.shape(1),
            dtype,
            a.device(),
            a.object(),
            {}};
}

DType format_for(const std::string& precision, const LeftArgument& left) {
    const DType format = format_from(precision, left.dtype);
    check(format != DType::i16 || left.left.bits, "precision 'int16' multiplies bits only; expected a Boolean array");
    return format;
}

Array pack(const AnyArray& b, DType dtype, DType format, const char* name) {
    check(b.ndim() == 2, std::string(name) + " has shape " + shape_of(b) + "; expected two dimensions");
    if (dtype_of(b, name) != dtype) throw py::type_error(std::string(name) + " and the left operand differ in dtype");
    check_strides(b, name);
    Array packed(format, panel_elements(format, b.shape(0), b.shape(1)), b.device());
    run(PackPanels{b.shape(0), b.shape(1), b.data(), b.stride_bytes(0) / b.itemsize(), b.stride_bytes(1) / b.itemsize(),
                   packed.data(), dtype, format},
        b.device());
    return packed;
}

AnyArray matmul(const py::object& a, const AnyArray& b, const std::string& precision, bool ta, bool tb) {
    LeftArgument left = left_argument(a, "a", dtype_of(b, "b"));
    if (ta) {
        check(!left.left.indptr && !left.left.bits, "a: a CSR or Boolean operand cannot be transposed here");
        std::swap(left.m, left.k);
        std::swap(left.left.row_stride, left.left.col_stride);
    }
    const AnyArray right = tb ? b.transposed() : b;
    check(left.device == right.device(), "a and b are on different devices");
    check(right.ndim() == 2 && right.shape(0) == left.k,
          "a and b do not fit: inner sizes are " + std::to_string(left.k) + " and " + std::to_string(right.shape(0)));
    const DType format = format_for(precision, left);
    const Array packed = pack(right, left.dtype, format, "b");
    AnyArray c = new_array(left.dtype, {left.m, right.shape(1)}, left.device);
    const Gemm p{left.m, right.shape(1), left.k, left.left, packed.data(), c.mutable_data(), right.shape(1), 1,
                 0,      left.dtype,     format};
    py::gil_scoped_release release;
    run(p, left.device);
    return c;
}

// Weights packed once, multiplied many times: what a benchmark of the inner loop times.
class PackedProduct {
  public:
    PackedProduct(const AnyArray& b, const std::string& precision)
        : dtype_(dtype_of(b, "b")),
          format_(format_from(precision, dtype_)),
          k_(b.shape(0)),
          n_(b.shape(1)),
          packed_(pack(b, dtype_, format_, "b")),
          zeros_(dtype_, n_, b.device()) {}

    void multiply(const py::object& a, AnyArray out) const {
        const LeftArgument left = checked(a, out);
        const Gemm p{left.m, n_, k_, left.left, packed_.data(), out.mutable_data(), n_, 1, 0, dtype_, format_};
        py::gil_scoped_release release;
        run(p, left.device);
    }
    void half_step(const py::object& a, AnyArray sample, uint64_t seed) const {
        const LeftArgument left = checked(a, sample);
        const HalfStep p{left.m,
                         n_,
                         k_,
                         left.left,
                         packed_.data(),
                         zeros_.data(),
                         nullptr,
                         1,
                         Unit::bernoulli,
                         nullptr,
                         sample.mutable_data(),
                         nullptr,
                         nullptr,
                         -1,
                         Draw{seed},
                         dtype_,
                         format_};
        py::gil_scoped_release release;
        run(p, left.device);
    }

  private:
    LeftArgument checked(const py::object& a, const AnyArray& out) const {
        LeftArgument left = left_argument(a, "a");
        check(left.k == k_ && left.dtype == dtype_ && left.device == packed_.device(),
              "a does not fit the packed matrix");
        contiguous(out, "out", dtype_, {left.m, n_}, left.device);
        return left;
    }
    DType dtype_, format_;
    int64_t k_, n_;
    Array packed_, zeros_;
};

py::dict conditional(const std::string& unit, const AnyArray& field, const AnyArray& bias, int64_t group,
                     const py::object& bias_weight, const py::object& totals, const py::object& shape, double scale,
                     double ratio, uint64_t seed, uint32_t step, uint32_t stream, uint32_t first_row,
                     uint32_t first_unit) {
    const DType dtype = dtype_of(field, "field");
    const Device device = field.device();
    contiguous(field, "field", dtype, {-1, -1}, device);
    const int64_t m = field.shape(0), n = field.shape(1);
    Conditional p{};
    p.m = m;
    p.n = n;
    p.unit = unit_from(unit, "unit");
    p.group = group;
    check(group > 0 && n % group == 0, "the units are no whole groups");
    p.field = field.data();
    p.field_stride = p.out_stride = n;
    p.bias = contiguous(bias, "bias", dtype, {n}, device).data();
    if (!bias_weight.is_none())
        p.bias_weight = contiguous(bias_weight.cast<AnyArray>(), "bias_weight", dtype, {m}, device).data();
    if (!totals.is_none()) p.totals = contiguous(totals.cast<AnyArray>(), "totals", dtype, {m}, device).data();
    if (!shape.is_none()) {
        const AnyArray both = AnyArray::of(shape, "shape");
        contiguous(both, "shape", dtype, {2, n}, device);
        p.shape[0] = both.data();
        p.shape[1] = static_cast<const char*>(both.data()) + n * both.itemsize();
    }
    p.scale = scale;
    p.ratio = ratio;
    p.draw = {seed, step, stream, first_row};
    p.first_unit = first_unit;
    p.dtype = dtype;
    AnyArray mean = new_array(dtype, {m, n}, device), sample = new_array(dtype, {m, n}, device),
             log_z = new_array(dtype, {m}, device);
    log_z.clear();
    p.mean = mean.mutable_data();
    p.sample = sample.mutable_data();
    p.log_partition = log_z.mutable_data();
    {
        py::gil_scoped_release release;
        run(p, device);
    }
    py::dict out;
    out["mean"] = mean;
    out["sample"] = sample;
    out["log_partition"] = log_z;
    return out;
}

AnyArray draw_states(const std::string& unit, const AnyArray& field, const AnyArray& bias, int64_t group, uint64_t seed,
                     uint32_t step, uint32_t stream, const py::object& clock) {
    const Device device = field.device();
    Conditional p{};
    p.dtype = dtype_of(field, "field");
    contiguous(field, "field", p.dtype, {-1, -1}, device);
    p.m = field.shape(0);
    p.n = p.field_stride = p.out_stride = field.shape(1);
    p.unit = unit_from(unit, "unit");
    p.group = group;
    check(group > 0 && p.n % group == 0, "the units are no whole groups");
    p.field = field.data();
    p.bias = contiguous(bias, "bias", p.dtype, {p.n}, device).data();
    p.scale = 1;
    p.ratio = -1;
    p.draw = {seed, step, stream, 0, nullptr, clock_of(clock, device)};
    AnyArray sample = new_array(p.dtype, {p.m, p.n}, device);
    p.sample = sample.mutable_data();
    const py::gil_scoped_release release;
    run(p, device);
    return sample;
}

py::dict half_step(const py::object& states, const AnyArray& weights, const AnyArray& bias, const py::object& sigma,
                   const py::object& k_scale, double scale, double ratio, uint64_t seed, uint32_t step, uint32_t stream,
                   uint32_t first_row, const std::string& precision, const py::object& uniforms,
                   const py::object& field) {
    const LeftArgument left = left_argument(states, "states", dtype_of(weights, "weights"));
    const DType dtype = left.dtype, format = format_for(precision, left);
    const Device device = left.device;
    const int64_t n = weights.shape(1);
    check(weights.ndim() == 2 && weights.shape(0) == left.k, "weights do not fit states");
    contiguous(bias, "bias", dtype, {n}, device);
    const Array packed = pack(weights, dtype, format, "weights");
    HalfStep p{};
    p.m = left.m;
    p.n = n;
    p.k = left.k;
    p.states = left.left;
    check(k_scale.is_none() || !left.left.bits, "k_scale does not go with a Boolean array");
    if (!k_scale.is_none())
        p.states.k_scale = contiguous(k_scale.cast<AnyArray>(), "k_scale", dtype, {left.k}, device).data();
    p.weights = packed.data();
    p.bias = bias.data();
    p.unit = sigma.is_none() ? Unit::bernoulli : Unit::gaussian;
    if (!sigma.is_none()) p.sigma = contiguous(sigma.cast<AnyArray>(), "sigma", dtype, {n}, device).data();
    p.scale = scale;
    p.ratio = ratio;
    p.draw = {seed, step, stream, first_row};
    if (!field.is_none()) p.field = contiguous(field.cast<AnyArray>(), "field", dtype, {left.m, n}, device).data();
    check(uniforms.is_none() || p.unit == Unit::bernoulli, "given uniforms are for Bernoulli units");
    if (!uniforms.is_none())
        p.draw.given = static_cast<const double*>(
            contiguous(uniforms.cast<AnyArray>(), "uniforms", DType::f64, {left.m, n}, device).data());
    p.dtype = dtype;
    p.format = format;
    AnyArray mean = new_array(dtype, {left.m, n}, device), sample = new_array(dtype, {left.m, n}, device),
             log_z = new_array(dtype, {left.m}, device);
    log_z.clear();
    Bits bits;
    if (p.unit == Unit::bernoulli) bits = Bits(left.m, n, device);
    p.bits = bits.data();
    p.mean = mean.mutable_data();
    p.sample = sample.mutable_data();
    p.log_partition = log_z.mutable_data();
    {
        py::gil_scoped_release release;
        run(p, device);
    }
    py::dict out;
    out["mean"] = mean;
    out["sample"] = sample;
    if (p.unit == Unit::bernoulli) out["bits"] = unpacked_bits(bits, left.m, n);
    out["log_partition"] = log_z;
    return out;
}

py::dict weight_update(const py::object& visible, const AnyArray& hidden, const AnyArray& weights,
                       const py::object& velocity, const AnyArray& contrast, const py::object& row_scale,
                       const std::vector<std::pair<AnyArray, AnyArray>>& rank_one, double rate, double momentum,
                       double l2, double l1, const std::string& precision) {
    // `visible` is visibles x rows
    const LeftArgument left = left_argument(visible, "visible", dtype_of(hidden, "hidden"));
    const DType dtype = left.dtype, format = format_for(precision, left);
    const Device device = left.device;
    const int64_t V = left.m, H = hidden.shape(1);
    contiguous(hidden, "hidden", dtype, {left.k, -1}, device);
    contiguous(weights, "weights", dtype, {V, H}, device);
    check(rank_one.size() <= 2, "rank_one has more than two terms");
    Array w = pack(weights, dtype, dtype, "weights"), v, dot(dtype, V, device);
    if (!velocity.is_none())
        v = pack(contiguous(velocity.cast<AnyArray>(), "velocity", dtype, {V, H}, device), dtype, dtype, "velocity");
    check(v || momentum == 0, "momentum needs a velocity");
    WeightUpdate p{};
    p.visibles = V;
    p.hiddens = H;
    p.rows = left.k;
    p.visible = left.left;
    p.hidden = hidden.data();
    p.contrast = contiguous(contrast, "contrast", dtype, {left.k}, device).data();
    p.weights = w.data();
    p.velocity = v ? v.data() : nullptr;
    if (!row_scale.is_none())
        p.row_scale = contiguous(row_scale.cast<AnyArray>(), "row_scale", dtype, {V}, device).data();
    for (size_t t = 0; t < rank_one.size(); ++t) {
        p.left[t] = contiguous(rank_one[t].first, "rank_one left", dtype, {V}, device).data();
        p.right[t] = contiguous(rank_one[t].second, "rank_one right", dtype, {H}, device).data();
    }
    p.row_dot = dot.data();
    p.rate = rate;
    p.momentum = momentum;
    p.l2 = l2;
    p.l1 = l1;
    p.dtype = dtype;
    p.format = format;
    {
        py::gil_scoped_release release;
        run(p, device);
    }
    // out through the transposing kernel and back: checks TurnPanels with it
    const auto unpack = [&](const Array& panels_of) {
        Array turned(dtype, panel_elements(dtype, H, V), device), on_cpu(dtype, turned.size());
        run(TurnPanels{V, H, panels_of.data(), turned.data(), nullptr, nullptr, dtype, dtype}, device);
        copy_memory({}, on_cpu.data(), device, turned.data(), turned.bytes());
        AnyArray out = new_array(dtype, {V, H});
        const auto copy = [&]<class T>(T) {
            for (int64_t i = 0; i < V; ++i)
                for (int64_t j = 0; j < H; ++j)
                    static_cast<T*>(out.mutable_data())[i * H + j] =
                        on_cpu.as<T>()[(i / kPanel * H + j) * kPanel + i % kPanel];
        };
        dtype == DType::f64 ? copy(double{}) : copy(float{});
        return out;
    };
    py::dict out;
    out["weights"] = unpack(w);
    if (v) out["velocity"] = unpack(v);
    AnyArray row_dot = new_array(dtype, {V}, device);
    copy_memory(device, row_dot.mutable_data(), device, dot.data(), row_dot.nbytes());
    out["row_dot"] = row_dot;
    return out;
}

// The bits of a matrix of zeros and ones, as Booleans; `order` picks rows.
py::array pack_bits(const AnyArray& x, const AnyArray& order) {
    const DType dtype = dtype_of(x, "x");
    const Device device = x.device();
    contiguous(x, "x", dtype, {-1, -1}, device);
    const int64_t rows = x.shape(0), cols = x.shape(1), count = order.size();
    check(order.dtype().num() == py::dtype::num_of<int64_t>() && order.is_contiguous() && order.device() == device,
          "order is no contiguous array of int64 where x is");
    const auto* at = static_cast<const int64_t*>(order.data());
    if (!device.is_gpu())
        for (int64_t i = 0; i < count; ++i) check(at[i] >= 0 && at[i] < rows, "order is out of range");
    const Bits bits(count, cols, device);
    const auto other = memory_on(device, sizeof(int32_t));
    clear_memory(device, other.get(), sizeof(int32_t));
    run(PackBits{count, cols, x.data(), cols, at, bits.data(), static_cast<int32_t*>(other.get()), dtype}, device);
    int32_t found = 0;
    copy_memory({}, &found, device, other.get(), sizeof found);
    check(!found, "x holds values other than 0 and 1");
    return unpacked_bits(bits, count, cols);
}

AnyArray unpack_bits(const AnyArray& x, const AnyArray& like) {
    check(x.ndim() == 2 && is_boolean(x), "x has shape " + shape_of(x) + "; expected a Boolean matrix");
    const DType dtype = dtype_of(like, "like");
    const Bits bits = packed_bits(x);
    AnyArray out = new_array(dtype, {x.shape(0), x.shape(1)}, x.device());
    run(UnpackBits{x.shape(0), x.shape(1), bits.data(), out.mutable_data(), dtype}, x.device());
    return out;
}

py::array turn_bits(const AnyArray& x) {
    check(x.ndim() == 2 && is_boolean(x), "x has shape " + shape_of(x) + "; expected a Boolean matrix");
    const int64_t rows = x.shape(0), cols = x.shape(1);
    const Bits bits = packed_bits(x), turned(cols, rows, x.device());
    run(TurnBits{rows, cols, bits.data(), turned.data()}, x.device());
    return unpacked_bits(turned, cols, rows);
}

AnyArray column_sum(const py::object& x, const py::object& weight) {
    const LeftArgument left =
        left_argument(x, "x", weight.is_none() ? DType::f32 : dtype_of(weight.cast<AnyArray>(), "weight"));
    check(left.left.indptr || left.left.bits || left.left.col_stride == 1 || left.k <= 1 || left.m == 0,
          "x must have contiguous rows");
    AnyArray out = new_array(left.dtype, {left.k}, left.device);
    ColumnSum p{left.m, left.k, left.left, nullptr, 0, out.mutable_data(), left.dtype};
    if (!weight.is_none())
        p.weight = contiguous(weight.cast<AnyArray>(), "weight", left.dtype, {left.m}, left.device).data();
    run(p, left.device);
    return out;
}

AnyArray uniforms(int64_t rows, int64_t cols, uint64_t seed, uint32_t step, uint32_t stream, uint32_t first_row,
                  int gpu) {
    check(rows >= 0 && cols >= 0, "rows and cols must not be negative");
    AnyArray out = new_array(DType::f32, {rows, cols}, {gpu});
    run(Uniforms{rows, cols, {seed, step, stream, first_row}, static_cast<float*>(out.mutable_data())}, {gpu});
    return out;
}

double measure_peak(const std::string& precision, double seconds) {
    const DType format = precision == "bfloat16"  ? DType::bf16
                         : precision == "float64" ? DType::f64
                                                  : dtype_from(precision, "precision");
    using Clock = std::chrono::steady_clock;
    double best = 0;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    py::gil_scoped_release release;
    do {
        double flops = 0;
        const auto start = Clock::now();
        run(PeakLoop{500000, num_threads(), &flops, format});
        best = std::max(best, flops / std::chrono::duration<double>(Clock::now() - start).count());
    } while (Clock::now() < end);
    return best;
}

double measure_bandwidth(double seconds) {
    using Clock = std::chrono::steady_clock;
    const int64_t n = int64_t(64) << 20;  // bytes; larger than the caches
    Array from(DType::f32, n / 4), to(DType::f32, n / 4);
    double best = 0;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    py::gil_scoped_release release;
    do {
        const auto start = Clock::now();
        parallel_for(cpu_launch(), n / 4096, [&](int64_t b, int64_t e) {
            std::memcpy(to.as<char>() + b * 4096, from.as<char>() + b * 4096, size_t(e - b) * 4096);
        });
        best = std::max(best, 2. * double(n) / std::chrono::duration<double>(Clock::now() - start).count());
    } while (Clock::now() < end);
    return best;
}

}  // namespace

void bind_ops(py::module_& m) {
    using namespace py::literals;
    m.def("matmul", &matmul, "a"_a, "b"_a, "precision"_a = "float32", "transpose_a"_a = false, "transpose_b"_a = false,
          "Matrix product a b; a is an array or a CSR tuple (indptr, indices, values, shape).");
    py::class_<PackedProduct>(m, "PackedProduct", "A right operand packed once.")
        .def(py::init<const AnyArray&, const std::string&>(), "b"_a, "precision"_a = "float32")
        .def("multiply", &PackedProduct::multiply, "a"_a, "out"_a, "out[...] = a b")
        .def("half_step", &PackedProduct::half_step, "a"_a, "sample"_a, "seed"_a,
             "sample[...] = Bernoulli(sigmoid(a b))");
    m.def("half_step", &half_step, "states"_a, "weights"_a, "bias"_a, "sigma"_a = py::none(), "k_scale"_a = py::none(),
          "scale"_a = 1.0, "ratio"_a = -1.0, "seed"_a = 0, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "precision"_a = "float32", "uniforms"_a = py::none(), "field"_a = py::none(),
          "One Gibbs half-step: mean, sample and log_partition. uniforms: numbers to use instead of drawing them; "
          "field: what comes in besides.");
    m.def("conditional", &conditional, "unit"_a, "field"_a, "bias"_a, "group"_a = 1, "bias_weight"_a = py::none(),
          "totals"_a = py::none(), "shape"_a = py::none(), "scale"_a = 1.0, "ratio"_a = -1.0, "seed"_a = 0,
          "step"_a = 0, "stream"_a = 0, "first_row"_a = 0, "first_unit"_a = 0,
          "A layer of units of any kind given its fields: mean, sample and log_partition.");
    m.def("draw_states", &draw_states, "unit"_a, "field"_a, "bias"_a, "group"_a = 1, "seed"_a = 0, "step"_a = 0,
          "stream"_a = 0, "clock"_a = py::none(), "States of a layer given its fields.");
    m.def("weight_update", &weight_update, "visible"_a, "hidden"_a, "weights"_a, "velocity"_a, "contrast"_a,
          "row_scale"_a = py::none(), "rank_one"_a = std::vector<std::pair<AnyArray, AnyArray>>{}, "rate"_a = 1.0,
          "momentum"_a = 0.0, "l2"_a = 0.0, "l1"_a = 0.0, "precision"_a = "float32",
          "One contrastive weight update: weights, velocity and row_dot.");
    m.def("pack_bits", &pack_bits, "x"_a, "order"_a, "Rows of zeros and ones as bits, seen as Booleans.");
    m.def("unpack_bits", &unpack_bits, "x"_a, "like"_a, "A Boolean matrix, made into bits, as values of like's type.");
    m.def("turn_bits", &turn_bits, "x"_a, "The transpose of a Boolean matrix, made from bits.");
    m.def("column_sum", &column_sum, "x"_a, "weight"_a = py::none(), "Weighted sum of the rows of x.");
    m.def("uniforms", &uniforms, "rows"_a, "cols"_a, "seed"_a, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "gpu"_a = -1, "Counter-based uniforms in [0, 1), on the CPU or a GPU.");
    m.def("measure_peak", &measure_peak, "precision"_a = "float32", "seconds"_a = 0.5,
          "Best rate of register-only multiply-adds on all threads, FLOP/s.");
    m.def("measure_bandwidth", &measure_bandwidth, "seconds"_a = 0.5,
          "Best rate of a large copy on all threads, bytes/s read and written.");
}

}  // namespace unsupfast::bind
