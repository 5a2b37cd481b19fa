// unsupfast._core.Rbm: the machine of csrc/rbm/rbm.h. Parameters, states and samples go in and out as NumPy arrays;
// rows of data lie where the machine does.
#include "rbm/rbm.h"

#include <array>

#include "bind/machines.h"

namespace unsupfast::bind {
namespace {

// State that only some ways of training have.
std::array<std::pair<const char*, Array*>, 4> made_when_needed(const Rbm& machine) {
    Rbm& r = const_cast<Rbm&>(machine);
    return {{{"second", &r.second}, {"bias_second", &r.bias_second}, {"fast", &r.fast}, {"fast_bias", &r.fast_bias}}};
}

int64_t size_when_made(const Rbm& r, const std::string& name) {
    return name == "bias_second" ? r.bias_velocity.size()
           : name == "fast_bias" ? r.visibles + r.hiddens
                                 : r.velocity.size();
}

}  // namespace

void bind_rbm(py::module_& m) {
    using namespace py::literals;
    py::class_<TrainOptions>(m, "TrainOptions", "Options of one call of Rbm.train.")
        .def(py::init<>())
        .def_readwrite("batch_size", &TrainOptions::batch_size)
        .def_readwrite("k", &TrainOptions::k)
        .def_readwrite("persistent", &TrainOptions::persistent)
        .def_readwrite("learning_rate", &TrainOptions::learning_rate)
        .def_readwrite("momentum", &TrainOptions::momentum)
        .def_readwrite("l2", &TrainOptions::l2)
        .def_readwrite("l1", &TrainOptions::l1)
        .def_readwrite("centering", &TrainOptions::centering)
        .def_readwrite("sparsity_target", &TrainOptions::sparsity_target)
        .def_readwrite("sparsity_cost", &TrainOptions::sparsity_cost)
        .def_readwrite("selectivity_target", &TrainOptions::selectivity_target)
        .def_readwrite("selectivity_cost", &TrainOptions::selectivity_cost)
        .def_readwrite("learn_sigma", &TrainOptions::learn_sigma)
        .def_readwrite("adam", &TrainOptions::adam)
        .def_readwrite("clip_norm", &TrainOptions::clip_norm)
        .def_readwrite("max_norm", &TrainOptions::max_norm)
        .def_readwrite("fast_rate", &TrainOptions::fast_rate)
        .def_readwrite("fast_decay", &TrainOptions::fast_decay)
        .def_readwrite("temperatures", &TrainOptions::temperatures)
        .def_readwrite("base_bias", &TrainOptions::base_bias)
        .def_readwrite("offset", &TrainOptions::offset)
        .def_readwrite("scale", &TrainOptions::scale)
        .def_readwrite("learn_shape", &TrainOptions::learn_shape)
        .def_readwrite("discriminative", &TrainOptions::discriminative)
        .def_readwrite("generative", &TrainOptions::generative)
        .def_readwrite("unlabelled", &TrainOptions::unlabelled)
        .def_readwrite("hidden_pull", &TrainOptions::hidden_pull)
        .def_readwrite("balanced", &TrainOptions::balanced);

    py::class_<Rbm>(m, "Rbm", "A restricted Boltzmann machine in packed form.")
        .def(py::init([](const Parts& visible, const Parts& hidden, const std::string& dtype,
                         const std::string& precision, int gpu) {
                 const DType t = dtype_from(dtype, "dtype");
                 return std::make_unique<Rbm>(layer_from(visible, "visible"), layer_from(hidden, "hidden"), t,
                                              format_from(precision, t), Device{gpu});
             }),
             "visible"_a, "hidden"_a, "dtype"_a, "precision"_a, "gpu"_a = -1,
             "Layers are lists of (kind, units, units of a group); gpu: where it lives (-1: on the CPU).")
        .def_property_readonly("gpu", [](const Rbm& r) { return r.device.gpu; })
        .def_readwrite("seed", &Rbm::seed)
        .def_readwrite("step", &Rbm::step)
        .def_readwrite("updates", &Rbm::updates)
        .def_readwrite("swaps", &Rbm::swaps)
        .def_readwrite("up", &Rbm::up)
        .def_readwrite("down", &Rbm::down)
        .def(
            "set_parameters",
            [](Rbm& r, const AnyArray& components, const AnyArray& visible_bias, const AnyArray& hidden_bias,
               const py::object& log_variance) {
                check(components.ndim() == 2 && components.shape(0) == r.hiddens && components.shape(1) == r.visibles,
                      "components has shape " + shape_of(components));
                if (dtype_of(components, "components") != r.dtype)
                    throw py::type_error("components has the wrong dtype");
                contiguous(visible_bias, "visible_bias", r.dtype, {r.visibles});
                contiguous(hidden_bias, "hidden_bias", r.dtype, {r.hiddens});
                const void* z = nullptr;
                if (!log_variance.is_none())
                    z = contiguous(log_variance.cast<AnyArray>(), "log_variance", r.dtype, {r.visibles}).data();
                r.set_parameters(components.data(), components.stride_bytes(1) / components.itemsize(),
                                 components.stride_bytes(0) / components.itemsize(), visible_bias.data(),
                                 hidden_bias.data(), z);
            },
            "components"_a, "visible_bias"_a, "hidden_bias"_a, "log_variance"_a = py::none(),
            "Sets weights (hiddens, visibles) and biases.")
        .def(
            "get_parameters",
            [](const Rbm& r) {
                AnyArray w = new_array(r.dtype, {r.visibles, r.hiddens}), a = new_array(r.dtype, {r.visibles}),
                         b = new_array(r.dtype, {r.hiddens}), z = new_array(r.dtype, {r.visibles});
                r.get_parameters(w.mutable_data(), a.mutable_data(), b.mutable_data(), z.mutable_data());
                return py::make_tuple(w.transposed(), a, b, z);
            },
            "(components (hiddens, visibles), visible_bias, hidden_bias, log_variance)")
        .def("set_chains",
             [](Rbm& r, const AnyArray& h) {
                 contiguous(h, "chains", r.dtype, {-1, r.hiddens});
                 check(r.set_chains(h.data(), h.shape(0)), "chains hold values other than 0 and 1");
                 r.chain_totals = Array();
             })
        .def("get_chains",
             [](const Rbm& r) {
                 AnyArray h = new_array(r.dtype, {r.chains.count(), r.hiddens});
                 if (r.chains.count()) r.chains.get(h.mutable_data());
                 return h;
             })
        .def(
            "set_chain_totals",
            [](Rbm& r, const AnyArray& totals) {
                r.chain_totals = Array(r.dtype, totals.size(), r.device);
                copy_into(r.chain_totals, totals, "totals", r.dtype);
            },
            "totals"_a, "What the counts of each chain add up to.")
        .def(
            "set_shapes",
            [](Rbm& r, const AnyArray& visible, const AnyArray& hidden) {
                const AnyArray v = contiguous(visible, "visible_shape", r.dtype, {2, r.visibles});
                const AnyArray h = contiguous(hidden, "hidden_shape", r.dtype, {2, r.hiddens});
                copy_memory(r.device, r.visible_shape.data(), {}, v.data(), v.nbytes());
                copy_memory(r.device, r.hidden_shape.data(), {}, h.data(), h.nbytes());
            },
            "visible"_a, "hidden"_a, "Gaps and asymmetries of double rectified units, a row each.")
        .def(
            "get_shapes",
            [](const Rbm& r) {
                return py::make_tuple(array_of(r.visible_shape, r.dtype, {2, r.visibles}),
                                      array_of(r.hidden_shape, r.dtype, {2, r.hiddens}));
            },
            "(visible, hidden)")
        .def(
            "get_state",
            [](const Rbm& r) {
                py::dict d;
                d["velocity"] = array_of(r.velocity, r.dtype, {r.velocity.size()});
                d["bias_velocity"] = array_of(r.bias_velocity, r.dtype, {r.bias_velocity.size()});
                d["visible_offset"] = array_of(r.visible_offset, r.dtype, {r.visibles});
                d["hidden_offset"] = array_of(r.hidden_offset, r.dtype, {r.hiddens});
                for (const auto& [name, a] : made_when_needed(r))
                    if (*a) d[name] = array_of(*a, r.dtype, {a->size()});
                return d;
            },
            "What training carries from step to step, besides parameters, chains, seed and step.")
        .def("set_state",
             [](Rbm& r, const py::dict& d) {
                 copy_into(r.velocity, AnyArray::of(d["velocity"]), "velocity", r.dtype);
                 copy_into(r.bias_velocity, AnyArray::of(d["bias_velocity"]), "bias_velocity", r.dtype);
                 copy_into(r.visible_offset, AnyArray::of(d["visible_offset"]), "visible_offset", r.dtype);
                 copy_into(r.hidden_offset, AnyArray::of(d["hidden_offset"]), "hidden_offset", r.dtype);
                 for (const auto& [name, a] : made_when_needed(r)) {
                     *a = Array();
                     if (!d.contains(name)) continue;
                     *a = Array(r.dtype, size_when_made(r, name), r.device);
                     copy_into(*a, AnyArray::of(d[name]), name, r.dtype);
                 }
             })
        .def(
            "train",
            [](Rbm& r, const py::object& x, const py::array_t<int64_t, py::array::c_style>& order,
               const py::object& weight, TrainOptions o, const py::object& callback, const py::object& uniforms,
               const py::object& label) {
                const RowsArgument rows = rows_argument(x, r.dtype, r.visibles, "X");
                const int64_t* index = order.data();
                for (int64_t i = 0; i < order.size(); ++i)
                    check(index[i] >= 0 && index[i] < rows.rows.count, "order has an index out of range");
                check(o.batch_size > 0 && o.k > 0, "batch_size and k must be positive");
                const int64_t levels = std::max<int64_t>(1, int64_t(o.temperatures.size()));
                check(r.chains.count() % levels == 0 &&
                          (levels == 1 || (o.persistent && int64_t(o.base_bias.size()) == r.visibles)),
                      "tempered chains need as many blocks as temperatures, and a base bias");
                check(o.offset.size() == o.scale.size() &&
                          (o.offset.empty() || (int64_t(o.offset.size()) == r.visibles && !r.visible.binary())),
                      "offset and scale need a number for each visible unit, of a layer that is not binary");
                check(!o.persistent || r.chains.count() > 0, "persistent training needs chains");
                check(!o.persistent || !r.visible.has(Unit::multinomial) || r.chain_totals.size() == r.chains.count(),
                      "chains of counts need totals");
                const void* w = nullptr;
                if (!weight.is_none())
                    w = contiguous(weight.cast<AnyArray>(), "sample_weight", r.dtype, {rows.rows.count}).data();
                check(uniforms.is_none() || (r.visible.binary() && r.hidden.binary()),
                      "given uniforms are for Bernoulli units");
                const int64_t* classes = nullptr;
                py::array_t<int64_t, py::array::c_style> of_rows;
                if (!label.is_none()) {
                    of_rows = label;
                    classes = of_rows.data();
                    const Segment& last = r.visible.segments.back();
                    check(last.unit == Unit::softmax && last.group == last.size() && r.hidden.binary(),
                          "labels need a softmax group at the end of the visible layer, and binary hidden units");
                    check(of_rows.size() == rows.rows.count, "label has the wrong size");
                    for (int64_t i = 0; i < of_rows.size(); ++i)
                        check(classes[i] >= -1 && classes[i] < last.group, "label has a class out of range");
                    check(
                        uniforms.is_none() && levels == 1 && !o.centering && o.sparsity_target < 0 && o.fast_rate == 0,
                        "labels go with plain updates");
                }
                UniformSource source(uniforms);
                if (!uniforms.is_none()) o.uniforms = source.function();
                Ticker ticker(callback, order.size());
                std::optional<Diverged> diverged;
                {
                    py::gil_scoped_release release;
                    diverged = r.train(rows.rows, index, order.size(), w, classes, o, ticker.function());
                }
                source.rethrow();
                ticker.rethrow();
                if (!diverged) return py::object(py::none());
                return py::object(py::make_tuple(diverged->batch, diverged->tensor));
            },
            "X"_a, "order"_a, "sample_weight"_a, "options"_a, "callback"_a = py::none(), "uniforms"_a = py::none(),
            "label"_a = py::none(),
            "Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite. "
            "uniforms(n), if given, returns the next n random numbers. label: a class for each of X, -1 where unknown.")
        .def(
            "hidden_given_visible",
            [](Rbm& r, const py::object& v, const std::string& what, uint64_t seed) {
                const RowsArgument rows = rows_argument(v, r.dtype, r.visibles, "X");
                const bool log_z = what == "log_partition", field = what == "field";
                check(log_z || field || what == "mean" || what == "sample", "what is '" + what + "'");
                AnyArray out =
                    log_z ? new_array(r.dtype, {rows.rows.count}) : new_array(r.dtype, {rows.rows.count, r.hiddens});
                const Array result(r.dtype, out.size(), r.device);
                void *p = result.data(), *to = out.mutable_data();
                py::gil_scoped_release release;
                const RowsThere there(r, rows);
                Array totals;
                r.sum_counts(there.rows().left(), rows.rows.count, totals);
                if (field)
                    r.hidden_fields(there.rows().left(), rows.rows.count, p, totals.data());
                else
                    r.hidden_given_visible(
                        there.rows().left(), rows.rows.count,
                        {what == "mean" ? p : nullptr, what == "sample" ? p : nullptr, nullptr, log_z ? p : nullptr},
                        Draw{seed}, totals.data());
                copy_memory({}, to, r.device, p, result.bytes());
                return out;
            },
            "X"_a, "what"_a, "seed"_a = 0,
            "'mean', 'sample', 'log_partition' or 'field' (total inputs) of the hidden layer.")
        .def(
            "visible_given_hidden",
            [](Rbm& r, const AnyArray& h, const std::string& what, uint64_t seed, const py::object& totals) {
                contiguous(h, "H", r.dtype, {-1, r.hiddens});
                Array counts;
                if (!totals.is_none()) {
                    counts = Array(r.dtype, h.shape(0), r.device);
                    copy_into(counts, totals.cast<AnyArray>(), "totals", r.dtype);
                }
                check(what == "mean" || what == "sample", "what is '" + what + "'");
                AnyArray out = new_array(r.dtype, {h.shape(0), r.visibles});
                const Array given(r.dtype, h.size(), r.device), result(r.dtype, out.size(), r.device);
                const void* from = h.data();
                void *p = result.data(), *to = out.mutable_data();
                const int64_t count = h.shape(0);
                py::gil_scoped_release release;
                copy_memory(r.device, given.data(), {}, from, given.bytes());
                r.visible_given_hidden(Left{given.data(), r.hiddens, 1}, count,
                                       {what == "mean" ? p : nullptr, what == "sample" ? p : nullptr}, Draw{seed},
                                       counts.data());
                copy_memory({}, to, r.device, p, result.bytes());
                return out;
            },
            "H"_a, "what"_a, "seed"_a = 0, "totals"_a = py::none(),
            "'mean' or 'sample' of the visible layer; totals: what the counts of each row add up to (None: 1).")
        .def(
            "gibbs",
            [](Rbm& r, const AnyArray& v, int64_t steps, const py::object& clamp, uint64_t seed,
               const py::object& callback) {
                contiguous(v, "v", r.dtype, {-1, r.visibles});
                check(steps >= 0, "steps must not be negative");
                AnyArray state = copy_of(v), mean = copy_of(v);
                py::array_t<uint8_t, py::array::c_style> mask;
                if (!clamp.is_none()) {
                    mask = clamp;
                    check(mask.size() == v.size(), "clamp has the wrong shape");
                }
                Ticker ticker(callback, steps);
                void *s = state.mutable_data(), *mu = mean.mutable_data();
                const int64_t count = v.shape(0);
                {
                    py::gil_scoped_release release;
                    r.gibbs(s, count, steps, clamp.is_none() ? nullptr : mask.data(), mu, seed, ticker.function());
                }
                ticker.rethrow();
                return py::make_tuple(state, mean);
            },
            "v"_a, "steps"_a, "clamp"_a = py::none(), "seed"_a = 0, "callback"_a = py::none(),
            "(states, conditional means) after `steps` Gibbs steps from v.")
        .def(
            "anneal",
            [](Rbm& r, const AnyArray& v, const py::array_t<double, py::array::c_style>& betas,
               const AnyArray& base_bias, uint64_t seed, const py::object& callback) {
                contiguous(v, "v", r.dtype, {-1, r.visibles});
                contiguous(base_bias, "base_bias", r.dtype, {r.visibles});
                AnyArray state = copy_of(v);
                py::array_t<double> log_weight(v.shape(0));
                std::memset(log_weight.mutable_data(), 0, size_t(log_weight.nbytes()));
                Ticker ticker(callback, betas.size() - 1);
                void* s = state.mutable_data();
                double* w = log_weight.mutable_data();
                const void* base = base_bias.data();
                const int64_t count = v.shape(0);
                {
                    py::gil_scoped_release release;
                    r.anneal(s, count, betas.data(), betas.size(), base, w, seed, ticker.function());
                }
                ticker.rethrow();
                return py::make_tuple(log_weight, state);
            },
            "v"_a, "betas"_a, "base_bias"_a, "seed"_a = 0, "callback"_a = py::none(),
            "(log weights, final states) of annealing along betas.");
}

}  // namespace unsupfast::bind
