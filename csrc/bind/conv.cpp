// Convolutions: single operations, for tests and benchmarks, and the machine of csrc/rbm/conv_rbm.h, as in
// bind/rbm.cpp.
#include "array.h"
#include "bind/bits.h"
#include "bind/machines.h"
#include "kernels/conv/shape.h"
#include "kernels/layout/op.h"
#include "rbm/conv_rbm.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

// Maps of numbers or of Booleans, which are handed over as bits.
struct MapsArgument {
    int64_t count, height, width, channels;
    const void* values = nullptr;
    Bits bits;
    AnyArray owner;
    Device device;

    const uint32_t* words() const { return values ? nullptr : bits.data(); }
};

MapsArgument maps_argument(const AnyArray& x, const char* name, DType dtype) {
    check(x.ndim() == 4 && x.is_contiguous(),
          std::string(name) + " has shape " + shape_of(x) + "; expected a C-contiguous array of four dimensions");
    MapsArgument maps{x.shape(0), x.shape(1), x.shape(2), x.shape(3), nullptr, {}, x, x.device()};
    if (is_boolean(x)) {
        const py::object rows =
            x.object().attr("reshape")(py::make_tuple(maps.count * maps.height, maps.width * maps.channels));
        maps.bits = packed_bits(AnyArray::of(rows));
    } else {
        maps.values = contiguous(x, name, dtype, {-1, -1, -1, -1}, x.device()).data();
    }
    return maps;
}

using Pair = std::pair<int64_t, int64_t>;

ConvShape shape_from(int64_t height, int64_t width, int64_t channels, int64_t filters, Pair size, int64_t stride,
                     Pair padding) {
    const ConvShape s{height, width, channels, filters, size.first, size.second, stride, padding.first, padding.second};
    check(s.rows > 0 && s.cols > 0 && s.channels > 0 && s.filters > 0, "filters have no elements");
    check(stride > 0 && s.top >= 0 && s.left >= 0, "stride must be positive and padding not negative");
    check(s.height + 2 * s.top >= s.rows && s.width + 2 * s.left >= s.cols, "filters are larger than the padded maps");
    return s;
}

ConvShape shape_of_filters(const AnyArray& filters, int64_t height, int64_t width, int64_t channels, int64_t stride,
                           Pair padding) {
    check(filters.ndim() == 4, "filters has shape " + shape_of(filters) + "; expected four dimensions");
    check(channels < 0 || filters.shape(3) == channels, "filters and maps have different channels");
    return shape_from(height, width, filters.shape(3), filters.shape(0), {filters.shape(1), filters.shape(2)}, stride,
                      padding);
}

// The filters as the right operand of a convolution: taps x filters.
Array packed_filters(const ConvShape& s, const void* filters, DType dtype, DType format, Device device) {
    Array right(format, panel_elements(format, s.taps(), s.filters), device);
    run(PackPanels{s.taps(), s.filters, filters, 1, s.taps(), right.data(), dtype, format}, device);
    return right;
}

DType checked_format(const std::string& precision, DType dtype, const MapsArgument& maps) {
    const DType format = format_from(precision, dtype);
    check(format != DType::i16 || maps.words(), "precision 'int16' multiplies bits only; expected a Boolean array");
    return format;
}

AnyArray conv(const AnyArray& x, const AnyArray& filters, int64_t stride, Pair padding, const std::string& precision) {
    const DType dtype = dtype_of(filters, "filters");
    const MapsArgument maps = maps_argument(x, "x", dtype);
    const ConvShape s = shape_of_filters(filters, maps.height, maps.width, maps.channels, stride, padding);
    const DType format = checked_format(precision, dtype, maps);
    const void* w = contiguous(filters, "filters", dtype, {-1, -1, -1, -1}, maps.device).data();
    const Array right = packed_filters(s, w, dtype, format, maps.device);
    AnyArray y = new_array(dtype, {maps.count, s.out_height(), s.out_width(), s.filters}, maps.device);
    const Gemm p{maps.count * s.positions(),
                 s.filters,
                 s.taps(),
                 s.maps(maps.values, maps.words()),
                 right.data(),
                 y.mutable_data(),
                 s.filters,
                 1,
                 0,
                 dtype,
                 format};
    py::gil_scoped_release release;
    run(p, maps.device);
    return y;
}

AnyArray conv_input(const AnyArray& g, const AnyArray& filters, Pair size, int64_t stride, Pair padding,
                    const std::string& precision, int64_t block) {
    const DType dtype = dtype_of(filters, "filters");
    const MapsArgument maps = maps_argument(g, "g", dtype);
    const ConvShape s = shape_of_filters(filters, size.first, size.second, -1, stride, padding);
    check(maps.height == s.out_height() && maps.width == s.out_width() && maps.channels == s.filters,
          "g has shape " + shape_of(g) + ", which is not that of the convolution's output");
    check(block >= 0 && (block == 0 || s.width % block == 0), "block does not divide the width");
    if (block == 0) block = s.block();
    const DType format = checked_format(precision, dtype, maps);
    const int64_t n = block * s.channels, depth = s.turned_depth(block);
    const Array right(format, panel_elements(format, depth, n), maps.device);
    run(s.turn(contiguous(filters, "filters", dtype, {-1, -1, -1, -1}, maps.device).data(), right.data(), block, dtype,
               format),
        maps.device);
    AnyArray x = new_array(dtype, {maps.count, s.height, s.width, s.channels}, maps.device);
    const Gemm p{maps.count * s.height * (s.width / block),
                 n,
                 depth,
                 s.turned_maps(maps.values, maps.words(), block),
                 right.data(),
                 x.mutable_data(),
                 n,
                 1,
                 0,
                 dtype,
                 format};
    py::gil_scoped_release release;
    run(p, maps.device);
    return x;
}

py::tuple conv_filters(const AnyArray& x, const AnyArray& g, Pair size, int64_t stride, Pair padding,
                       const std::string& precision, double scale) {
    const DType dtype = dtype_of(g, "g");
    const MapsArgument maps = maps_argument(x, "x", dtype);
    check(g.ndim() == 4, "g has shape " + shape_of(g) + "; expected four dimensions");
    const ConvShape s = shape_from(maps.height, maps.width, maps.channels, g.shape(3), size, stride, padding);
    const DType format = format_from(precision, dtype);
    check(format != DType::i16, "precision is 'int16'; expected one of real numbers");
    contiguous(g, "g", dtype, {maps.count, s.out_height(), s.out_width(), s.filters}, maps.device);
    AnyArray out = new_array(dtype, {s.filters, s.rows, s.cols, s.channels}, maps.device);
    AnyArray sums = new_array(dtype, {s.filters}, maps.device);
    {
        py::gil_scoped_release release;
        run(FilterGradient{maps.count * s.positions(), s.filters, s.taps(), s.maps(maps.values, maps.words()), g.data(),
                           scale, 0, out.mutable_data(), sums.mutable_data(), dtype, format},
            maps.device);
    }
    return py::make_tuple(out, sums);
}

py::dict pooling_step(const AnyArray& x, const AnyArray& filters, const AnyArray& bias, int64_t pool, double scale,
                      double ratio, uint64_t seed, uint32_t step, uint32_t stream, uint32_t first_row,
                      const std::string& precision) {
    const DType dtype = dtype_of(filters, "filters");
    const MapsArgument maps = maps_argument(x, "x", dtype);
    const Device device = maps.device;
    const ConvShape s = shape_of_filters(filters, maps.height, maps.width, maps.channels, 1, {0, 0});
    const DType format = checked_format(precision, dtype, maps);
    const int64_t H = s.out_height(), W = s.out_width(), K = s.filters;
    check(pool > 0 && H % pool == 0 && W % pool == 0, "pool does not divide the maps of detection units");
    const Array right = packed_filters(s, contiguous(filters, "filters", dtype, {-1, -1, -1, -1}, device).data(), dtype,
                                       format, device);
    AnyArray mean = new_array(dtype, {maps.count, H, W, K}, device),
             pooled = new_array(dtype, {maps.count, H / pool, W / pool, K}, device),
             log_z = new_array(dtype, {maps.count}, device);
    log_z.clear();
    const Bits bits(maps.count * H, W * K, device);
    {
        py::gil_scoped_release release;
        run(PoolingStep{maps.count * s.positions(),
                        K,
                        s.taps(),
                        s.maps(maps.values, maps.words()),
                        H,
                        W,
                        pool,
                        right.data(),
                        contiguous(bias, "bias", dtype, {K}, device).data(),
                        scale,
                        mean.mutable_data(),
                        bits.data(),
                        pooled.mutable_data(),
                        log_z.mutable_data(),
                        ratio,
                        {seed, step, stream, first_row},
                        dtype,
                        format},
            device);
    }
    py::dict out;
    out["mean"] = mean;
    out["pooled"] = pooled;
    out["log_partition"] = log_z;
    out["sample"] = unpacked_bits(bits, maps.count * H, W * K).attr("reshape")(maps.count, H, W, K);
    return out;
}

}  // namespace

void bind_conv(py::module_& m) {
    using namespace py::literals;
    m.def("conv", &conv, "x"_a, "filters"_a, "stride"_a = 1, "padding"_a = Pair{0, 0}, "precision"_a = "float32",
          "Convolution (correlation) of maps (n, height, width, channels), numbers or Booleans, with filters (filters, "
          "height, width, channels).");
    m.def("conv_input", &conv_input, "g"_a, "filters"_a, "size"_a, "stride"_a = 1, "padding"_a = Pair{0, 0},
          "precision"_a = "float32", "block"_a = 0,
          "The transpose of conv, a map from its outputs to inputs of that size: the input gradient. block: pixels "
          "side by side that a row of the product makes; 0 chooses.");
    m.def("conv_filters", &conv_filters, "x"_a, "g"_a, "size"_a, "stride"_a = 1, "padding"_a = Pair{0, 0},
          "precision"_a = "float32", "scale"_a = 1.0,
          "Gradients of conv by filters of that size and by a bias a filter, given that by its outputs.");
    m.def("pooling_step", &pooling_step, "x"_a, "filters"_a, "bias"_a, "pool"_a, "scale"_a = 1.0, "ratio"_a = -1.0,
          "seed"_a = 0, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0, "precision"_a = "float32",
          "A half-step of a convolutional RBM with probabilistic max-pooling: mean, sample, pooled and "
          "log_partition.");

    py::class_<ConvOptions>(m, "ConvOptions", "Options of one call of ConvRbm.train.")
        .def(py::init<>())
        .def_readwrite("batch_size", &ConvOptions::batch_size)
        .def_readwrite("k", &ConvOptions::k)
        .def_readwrite("persistent", &ConvOptions::persistent)
        .def_readwrite("learning_rate", &ConvOptions::learning_rate)
        .def_readwrite("momentum", &ConvOptions::momentum)
        .def_readwrite("l2", &ConvOptions::l2)
        .def_readwrite("sparsity_target", &ConvOptions::sparsity_target)
        .def_readwrite("sparsity_cost", &ConvOptions::sparsity_cost);

    py::class_<ConvRbm>(m, "ConvRbm", "A convolutional RBM with probabilistic max-pooling.")
        .def(py::init([](std::tuple<int64_t, int64_t, int64_t> image, int64_t filters, Pair size, int64_t pool,
                         const std::string& visible, const std::string& dtype, const std::string& precision, int gpu) {
                 const auto [height, width, channels] = image;
                 const ConvShape s = shape_from(height, width, channels, filters, size, 1, {0, 0});
                 check(pool > 0 && s.out_height() % pool == 0 && s.out_width() % pool == 0,
                       "pool does not divide the maps of detection units");
                 const Unit unit = unit_from(visible, "visible");
                 check(unit == Unit::bernoulli || unit == Unit::gaussian, "visible is neither bernoulli nor gaussian");
                 const DType type = dtype_from(dtype, "dtype"), format = format_from(precision, type);
                 check(format != DType::i16, "precision is 'int16'; expected one of real numbers");
                 return std::make_unique<ConvRbm>(s, pool, unit, type, format, Device{gpu});
             }),
             "image"_a, "filters"_a, "size"_a, "pool"_a, "visible"_a, "dtype"_a, "precision"_a, "gpu"_a = -1,
             "gpu: where it lives (-1: on the CPU).")
        .def_property_readonly("gpu", [](const ConvRbm& r) { return r.device.gpu; })
        .def_readwrite("seed", &ConvRbm::seed)
        .def_readwrite("step", &ConvRbm::step)
        .def(
            "set_parameters",
            [](ConvRbm& r, const AnyArray& filters, const AnyArray& visible_bias, const AnyArray& hidden_bias) {
                contiguous(filters, "filters", r.dtype, {r.shape.filters, r.shape.taps()});
                copy_memory(r.device, r.filters.data(), {}, filters.data(), filters.nbytes());
                copy_into(r.visible_bias, visible_bias, "visible_bias", r.dtype);
                copy_into(r.hidden_bias, hidden_bias, "hidden_bias", r.dtype);
                r.refresh();
            },
            "filters"_a, "visible_bias"_a, "hidden_bias"_a, "Filters are (filters, height width channels).")
        .def(
            "get_parameters",
            [](const ConvRbm& r) {
                return py::make_tuple(array_of(r.filters, r.dtype, {r.shape.filters, r.shape.taps()}),
                                      array_of(r.visible_bias, r.dtype, {r.shape.channels}),
                                      array_of(r.hidden_bias, r.dtype, {r.shape.filters}));
            },
            "(filters, visible_bias, hidden_bias)")
        .def(
            "set_chains",
            [](ConvRbm& r, const AnyArray& chains) {
                contiguous(chains, "chains", r.dtype, {-1, r.shape.pixels()});
                r.set_chains(chains.data(), chains.shape(0));
            },
            "chains"_a, "Visible states of persistent chains.")
        .def("get_chains",
             [](const ConvRbm& r) {
                 AnyArray v = new_array(r.dtype, {r.chain_count(), r.shape.pixels()});
                 r.get_chains(v.mutable_data());
                 return v;
             })
        .def(
            "get_state",
            [](const ConvRbm& r) {
                py::dict d;
                d["velocity"] = array_of(r.velocity, r.dtype, {r.velocity.size()});
                d["visible_velocity"] = array_of(r.visible_velocity, r.dtype, {r.visible_velocity.size()});
                d["hidden_velocity"] = array_of(r.hidden_velocity, r.dtype, {r.hidden_velocity.size()});
                d["activity"] = array_of(r.activity, r.dtype, {r.activity.size()});
                return d;
            },
            "What training carries from step to step, besides parameters, chains, seed and step.")
        .def("set_state",
             [](ConvRbm& r, const py::dict& d) {
                 copy_into(r.velocity, AnyArray::of(d["velocity"]), "velocity", r.dtype);
                 copy_into(r.visible_velocity, AnyArray::of(d["visible_velocity"]), "visible_velocity", r.dtype);
                 copy_into(r.hidden_velocity, AnyArray::of(d["hidden_velocity"]), "hidden_velocity", r.dtype);
                 copy_into(r.activity, AnyArray::of(d["activity"]), "activity", r.dtype);
             })
        .def(
            "train",
            [](ConvRbm& r, const AnyArray& x, const py::array_t<int64_t, py::array::c_style>& order,
               const ConvOptions& o, const py::object& callback) {
                const RowsArgument rows = rows_argument(x.object(), r.dtype, r.shape.pixels(), "X");
                const int64_t* index = order.data();
                for (int64_t i = 0; i < order.size(); ++i)
                    check(index[i] >= 0 && index[i] < rows.rows.count, "order has an index out of range");
                check(o.batch_size > 0 && o.k > 0, "batch_size and k must be positive");
                check(!o.persistent || r.chain_count() > 0, "persistent training needs chains");
                Ticker ticker(callback, order.size());
                std::optional<Diverged> diverged;
                {
                    py::gil_scoped_release release;
                    diverged = r.train(rows.rows, index, order.size(), o, ticker.function());
                }
                ticker.rethrow();
                if (!diverged) return py::object(py::none());
                return py::object(py::make_tuple(diverged->batch, diverged->tensor));
            },
            "X"_a, "order"_a, "options"_a, "callback"_a = py::none(),
            "Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite.")
        .def(
            "hidden_given_visible",
            [](const ConvRbm& r, const AnyArray& v, const std::string& what, uint64_t seed) {
                const RowsArgument rows = rows_argument(v.object(), r.dtype, r.shape.pixels(), "X");
                const int64_t n = rows.rows.count;
                const bool log_z = what == "log_partition", pooled = what == "pooled";
                check(log_z || pooled || what == "mean" || what == "sample", "what is '" + what + "'");
                AnyArray out =
                    log_z ? new_array(r.dtype, {n}) : new_array(r.dtype, {n, pooled ? r.pools() : r.units()});
                void* p = out.mutable_data();
                py::gil_scoped_release release;
                const RowsThere there(r.device, r.dtype, rows);
                r.hidden_given_visible(there.rows().data, n, what == "mean" ? p : nullptr, pooled ? p : nullptr,
                                       what == "sample" ? p : nullptr, log_z ? p : nullptr, seed);
                return out;
            },
            "X"_a, "what"_a, "seed"_a = 0,
            "'mean' or 'sample' of detection units, means of pooling units ('pooled'), or 'log_partition'.")
        .def(
            "visible_given_hidden",
            [](const ConvRbm& r, const AnyArray& h, const std::string& what, uint64_t seed) {
                const RowsArgument rows = rows_argument(h.object(), r.dtype, r.units(), "H");
                check(what == "mean" || what == "sample", "what is '" + what + "'");
                AnyArray out = new_array(r.dtype, {rows.rows.count, r.shape.pixels()});
                void* p = out.mutable_data();
                py::gil_scoped_release release;
                const RowsThere there(r.device, r.dtype, rows);
                r.visible_given_hidden(there.rows().data, rows.rows.count, what == "mean" ? p : nullptr,
                                       what == "sample" ? p : nullptr, seed);
                return out;
            },
            "H"_a, "what"_a, "seed"_a = 0, "'mean' or 'sample' of the visible layer given detection units.")
        .def(
            "gibbs",
            [](const ConvRbm& r, const AnyArray& v, int64_t steps, uint64_t seed, const py::object& callback) {
                contiguous(v, "v", r.dtype, {-1, r.shape.pixels()});
                check(steps >= 0, "steps must not be negative");
                AnyArray state = copy_of(v), mean = copy_of(v);
                Ticker ticker(callback, steps);
                void *s = state.mutable_data(), *mu = mean.mutable_data();
                {
                    py::gil_scoped_release release;
                    r.gibbs(s, v.shape(0), steps, mu, seed, ticker.function());
                }
                ticker.rethrow();
                return py::make_tuple(state, mean);
            },
            "v"_a, "steps"_a, "seed"_a = 0, "callback"_a = py::none(),
            "(states, conditional means) after `steps` Gibbs steps from v.")
        .def(
            "anneal",
            [](const ConvRbm& r, const AnyArray& v, const py::array_t<double, py::array::c_style>& betas,
               const AnyArray& base_bias, uint64_t seed, const py::object& callback) {
                contiguous(v, "v", r.dtype, {-1, r.shape.pixels()});
                contiguous(base_bias, "base_bias", r.dtype, {r.shape.channels});
                AnyArray state = copy_of(v);
                py::array_t<double> log_weight(v.shape(0));
                std::memset(log_weight.mutable_data(), 0, size_t(log_weight.nbytes()));
                Ticker ticker(callback, betas.size() - 1);
                void* s = state.mutable_data();
                double* w = log_weight.mutable_data();
                {
                    py::gil_scoped_release release;
                    r.anneal(s, v.shape(0), betas.data(), betas.size(), base_bias.data(), w, seed, ticker.function());
                }
                ticker.rethrow();
                return py::make_tuple(log_weight, state);
            },
            "v"_a, "betas"_a, "base_bias"_a, "seed"_a = 0, "callback"_a = py::none(),
            "(log weights, final states) of annealing along betas.");
}

}  // namespace unsupfast::bind
