// unsupfast._core.Dbm: the deep machine of csrc/dbm/dbm.h. States of all even layers, or of all odd ones, are side by
// side in one NumPy array; means of the hidden layers too, from the lowest. Rows of data lie where the machine does.
#include "dbm/dbm.h"

#include "bind/machines.h"

namespace unsupfast::bind {
namespace {

// The name of a link's array.
std::string numbered(const char* name, size_t link) {
    std::string full = name;
    full += '.';
    full += std::to_string(link);
    return full;
}

py::dict state_of(const Dbm& d) {
    py::dict out;
    for (size_t i = 0; i < d.links.size(); ++i) {
        const Rbm& r = *d.links[i];
        const auto add = [&](const char* name, const Array& a) {
            out[py::str(numbered(name, i))] = array_of(a, d.dtype, {a.size()});
        };
        add("velocity", r.velocity);
        add("bias_velocity", r.bias_velocity);
        add("hidden_offset", r.hidden_offset);
        if (i == 0) add("visible_offset", r.visible_offset);
    }
    return out;
}

void set_state(Dbm& d, const py::dict& from) {
    for (size_t i = 0; i < d.links.size(); ++i) {
        Rbm& r = *d.links[i];
        const auto take = [&](const char* name, Array& to) {
            const std::string full = numbered(name, i);
            copy_into(to, AnyArray::of(from[py::str(full)]), full.c_str(), d.dtype);
        };
        take("velocity", r.velocity);
        take("bias_velocity", r.bias_velocity);
        take("hidden_offset", r.hidden_offset);
        if (i == 0) take("visible_offset", r.visible_offset);
    }
}

py::tuple mean_field(Dbm& d, const py::object& x, double tolerance, int64_t most) {
    const RowsArgument rows = rows_argument(x, d.dtype, d.width(0), "X");
    check(most > 0, "most must be positive");
    const int64_t count = rows.rows.count, all = d.units(0) + d.units(1) - d.width(0), size = element_size(d.dtype);
    AnyArray joined = new_array(d.dtype, {count, all}), log_z = new_array(d.dtype, {count});
    char* out = static_cast<char*>(joined.mutable_data());
    void* sums = log_z.mutable_data();
    int64_t sweeps = 0;
    {
        py::gil_scoped_release release;
        const RowsThere there(*d.links[0], rows);
        std::vector<Array> means(1);
        std::vector<void*> to{nullptr};
        for (int64_t i = 1; i <= d.depth; ++i) {
            means.emplace_back(d.dtype, count * d.width(i), d.device);
            to.push_back(means.back().data());
        }
        const Array bound(d.dtype, count, d.device);
        sweeps = d.mean_field(there.rows().left(), count, to, {tolerance, most}, bound.data());
        copy_memory({}, sums, d.device, bound.data(), bound.bytes());
        int64_t at = 0;
        for (int64_t i = 1; i <= d.depth; ++i) {
            const int64_t n = d.width(i);
            const Array own(d.dtype, count * n);
            copy_memory({}, own.data(), d.device, means[size_t(i)].data(), own.bytes());
            for (int64_t b = 0; b < count; ++b)
                std::memcpy(out + (b * all + at) * size, own.as<char>() + b * n * size, size_t(n * size));
            at += n;
        }
    }
    return py::make_tuple(joined, log_z, sweeps);
}

py::object train(Dbm& d, const py::object& x, const py::array_t<int64_t, py::array::c_style>& order,
                 const py::object& weight, const TrainOptions& o, double tolerance, int64_t most,
                 const py::object& callback) {
    const RowsArgument rows = rows_argument(x, d.dtype, d.width(0), "X");
    const int64_t* index = order.data();
    for (int64_t i = 0; i < order.size(); ++i)
        check(index[i] >= 0 && index[i] < rows.rows.count, "order has an index out of range");
    check(o.batch_size > 0 && o.k > 0 && most > 0, "batch_size, k and most must be positive");
    check(!d.chains.empty() && d.chains[0].count() > 0, "training needs chains");
    const void* w = nullptr;
    if (!weight.is_none()) w = contiguous(weight.cast<AnyArray>(), "sample_weight", d.dtype, {rows.rows.count}).data();
    Ticker ticker(callback, order.size());
    std::optional<Diverged> diverged;
    {
        py::gil_scoped_release release;
        diverged = d.train(rows.rows, index, order.size(), w, o, {tolerance, most}, ticker.function());
    }
    ticker.rethrow();
    if (!diverged) return py::none();
    return py::make_tuple(diverged->batch, diverged->tensor);
}

py::tuple gibbs(Dbm& d, const AnyArray& even, int64_t steps, const py::object& clamp, uint64_t seed,
                const py::object& callback) {
    contiguous(even, "even", d.dtype, {-1, d.units(0)});
    check(steps >= 0, "steps must not be negative");
    const int64_t count = even.shape(0);
    AnyArray state = copy_of(even), mean = new_array(d.dtype, {count, d.width(0)});
    mean.clear();
    py::array_t<uint8_t, py::array::c_style> mask;
    if (!clamp.is_none()) {
        mask = clamp;
        check(mask.size() == count * d.width(0), "clamp has the wrong shape");
    }
    Ticker ticker(callback, steps);
    void *s = state.mutable_data(), *mu = mean.mutable_data();
    {
        py::gil_scoped_release release;
        d.gibbs(s, count, steps, clamp.is_none() ? nullptr : mask.data(), mu, seed, ticker.function());
    }
    ticker.rethrow();
    return py::make_tuple(state, mean);
}

py::tuple anneal(Dbm& d, const AnyArray& even, const py::array_t<double, py::array::c_style>& betas,
                 const AnyArray& base_bias, uint64_t seed, const py::object& callback) {
    contiguous(even, "even", d.dtype, {-1, d.units(0)});
    contiguous(base_bias, "base_bias", d.dtype, {d.units(0)});
    AnyArray state = copy_of(even);
    py::array_t<double> log_weight(even.shape(0));
    std::memset(log_weight.mutable_data(), 0, size_t(log_weight.nbytes()));
    Ticker ticker(callback, betas.size() - 1);
    void* s = state.mutable_data();
    double* w = log_weight.mutable_data();
    const void* base = base_bias.data();
    const int64_t count = even.shape(0);
    {
        py::gil_scoped_release release;
        d.anneal(s, count, betas.data(), betas.size(), base, w, seed, ticker.function());
    }
    ticker.rethrow();
    return py::make_tuple(log_weight, state);
}

}  // namespace

void bind_dbm(py::module_& m) {
    using namespace py::literals;
    py::class_<Dbm>(m, "Dbm", "A deep Boltzmann machine in packed form.")
        .def(py::init(
                 [](const std::vector<Parts>& layers, const std::string& dtype, const std::string& precision, int gpu) {
                     const DType t = dtype_from(dtype, "dtype");
                     std::vector<Layer> made;
                     for (size_t i = 0; i < layers.size(); ++i)
                         made.push_back(layer_from(layers[i], i ? "hidden" : "visible"));
                     return std::make_unique<Dbm>(made, t, format_from(precision, t), Device{gpu});
                 }),
             "layers"_a, "dtype"_a, "precision"_a, "gpu"_a = -1,
             "Layers are lists of (kind, units, units of a group), the visible one first; gpu: where it lives (-1: "
             "on the CPU).")
        .def_property_readonly("gpu", [](const Dbm& d) { return d.device.gpu; })
        .def_readwrite("seed", &Dbm::seed)
        .def_readwrite("step", &Dbm::step)
        .def_readwrite("rows", &Dbm::rows)
        .def_readwrite("sweeps", &Dbm::sweeps)
        .def(
            "set_link",
            [](Dbm& d, int64_t i, const AnyArray& components, const AnyArray& lower_bias, const AnyArray& upper_bias,
               const AnyArray& log_variance) {
                check(i >= 0 && i < d.depth, "there is no such link");
                Rbm& r = *d.links[size_t(i)];
                check(components.ndim() == 2 && components.shape(0) == r.hiddens && components.shape(1) == r.visibles,
                      "components has shape " + shape_of(components));
                if (dtype_of(components, "components") != d.dtype)
                    throw py::type_error("components has the wrong dtype");
                contiguous(lower_bias, "lower_bias", d.dtype, {r.visibles});
                contiguous(upper_bias, "upper_bias", d.dtype, {r.hiddens});
                contiguous(log_variance, "log_variance", d.dtype, {r.visibles});
                r.set_parameters(components.data(), components.stride_bytes(1) / components.itemsize(),
                                 components.stride_bytes(0) / components.itemsize(), lower_bias.data(),
                                 upper_bias.data(), log_variance.data());
            },
            "i"_a, "components"_a, "lower_bias"_a, "upper_bias"_a, "log_variance"_a,
            "Sets the weights (upper, lower) between layers i and i + 1, and the bias of the upper one; where i is 0 "
            "also bias and log variance of the lower one, which mean nothing elsewhere.")
        .def(
            "get_link",
            [](const Dbm& d, int64_t i) {
                check(i >= 0 && i < d.depth, "there is no such link");
                const Rbm& r = *d.links[size_t(i)];
                AnyArray w = new_array(r.dtype, {r.visibles, r.hiddens}), a = new_array(r.dtype, {r.visibles}),
                         b = new_array(r.dtype, {r.hiddens}), z = new_array(r.dtype, {r.visibles});
                r.get_parameters(w.mutable_data(), a.mutable_data(), b.mutable_data(), z.mutable_data());
                return py::make_tuple(w.transposed(), a, b, z);
            },
            "i"_a, "(components (upper, lower), lower_bias, upper_bias, log_variance)")
        .def("set_chains",
             [](Dbm& d, const AnyArray& odd) {
                 contiguous(odd, "chains", d.dtype, {-1, d.units(1)});
                 check(d.set_chains(odd.data(), odd.shape(0)), "chains hold values other than 0 and 1");
             })
        .def("get_chains",
             [](const Dbm& d) {
                 AnyArray odd = new_array(d.dtype, {d.chains.empty() ? 0 : d.chains[0].count(), d.units(1)});
                 d.get_chains(odd.mutable_data());
                 return odd;
             })
        .def("get_state", &state_of, "What training carries from step to step, besides parameters, chains, seed, step.")
        .def("set_state", &set_state)
        .def("mean_field", &mean_field, "X"_a, "tolerance"_a, "most"_a,
             "(means of the hidden layers side by side, what the odd ones add to the bound, sweeps of all rows "
             "together)")
        .def("train", &train, "X"_a, "order"_a, "sample_weight"_a, "options"_a, "tolerance"_a, "most"_a,
             "callback"_a = py::none(),
             "Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite.")
        .def("gibbs", &gibbs, "even"_a, "steps"_a, "clamp"_a = py::none(), "seed"_a = 0, "callback"_a = py::none(),
             "(states of the even layers, conditional means of the visible one) after `steps` Gibbs steps.")
        .def("anneal", &anneal, "even"_a, "betas"_a, "base_bias"_a, "seed"_a = 0, "callback"_a = py::none(),
             "(log weights, final states of the even layers) of annealing along betas.");
}

}  // namespace unsupfast::bind
