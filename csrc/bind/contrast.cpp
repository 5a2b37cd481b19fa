// The small operations of a contrastive update, for tests.
#include "bind/bits.h"
#include "kernels/contrast/op.h"
#include "kernels/exchange/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

py::dict contrast_gradient(const AnyArray& dv, const AnyArray& dh, const py::object& precision,
                           const py::object& hidden_mean, const AnyArray& visible_offset, AnyArray hidden_offset,
                           double total, double decay, double target, double cost, bool centred) {
    const DType dtype = dtype_of(dv, "dv");
    const Device device = dv.device();
    const int64_t V = dv.size(), H = dh.size();
    const auto copy = [&](const AnyArray& x, const char* name, int64_t n) {
        contiguous(x, name, dtype, {n}, device);
        AnyArray y = new_array(dtype, {n}, device);
        copy_memory(device, y.mutable_data(), device, x.data(), y.nbytes());
        return y;
    };
    AnyArray by_v = copy(dv, "dv", V), by_h = copy(dh, "dh", H), offset = copy(hidden_offset, "hidden_offset", H);
    AnyArray row_scale = new_array(dtype, {V}, device), shift = new_array(dtype, {V}, device);
    AnyArray right = new_array(dtype, {H}, device);
    shift.clear();
    right.clear();
    const auto optional = [&](const py::object& x, const char* name, int64_t n) {
        return x.is_none() ? nullptr : contiguous(x.cast<AnyArray>(), name, dtype, {n}, device).data();
    };
    run(ContrastGradient{V, H, by_v.mutable_data(), by_h.mutable_data(), optional(precision, "precision", V),
                         optional(hidden_mean, "hidden_mean", H),
                         contiguous(visible_offset, "visible_offset", dtype, {V}, device).data(), offset.mutable_data(),
                         row_scale.mutable_data(), shift.mutable_data(), right.mutable_data(), total, decay, target,
                         cost, centred, dtype},
        device);
    py::dict out;
    out["dv"] = by_v;
    out["dh"] = by_h;
    out["row_scale"] = row_scale;
    out["hidden_offset"] = offset;
    out["offset_shift"] = shift;
    out["rank_right"] = right;
    return out;
}

AnyArray selective_targets(const AnyArray& activities, double target, double cost) {
    const DType dtype = dtype_of(activities, "activities");
    const Device device = activities.device();
    contiguous(activities, "activities", dtype, {-1, -1}, device);
    check(target > 0 && target < 1 && cost >= 0 && cost <= 1, "target must be in (0, 1), cost in [0, 1]");
    const int64_t rows = activities.shape(0), n = activities.shape(1);
    AnyArray out = new_array(dtype, {rows, n}, device), ranks = new_array(dtype, {rows, n}, device);
    copy_memory(device, out.mutable_data(), device, activities.data(), out.nbytes());
    run(SelectiveTargets{rows, n, out.mutable_data(), ranks.mutable_data(), target, cost, dtype}, device);
    return out;
}

// In place. Returns whether all new values are finite.
bool momentum_step(const std::vector<std::tuple<AnyArray, AnyArray, AnyArray>>& tensors, double rate, double momentum,
                   double low, double high) {
    check(!tensors.empty() && tensors.size() <= 8, "one to eight tensors can be stepped at a time");
    const Device device = std::get<2>(tensors[0]).device();
    const auto flag = memory_on(device, sizeof(int32_t));
    clear_memory(device, flag.get(), sizeof(int32_t));
    MomentumStep m{};
    m.dtype = dtype_of(std::get<2>(tensors[0]), "g");
    m.rate = rate;
    m.momentum = momentum;
    for (const auto& [p, v, g] : tensors) {
        const int64_t n = g.size();
        AnyArray parameter = contiguous(p, "p", m.dtype, {n}, device),
                 velocity = contiguous(v, "v", m.dtype, {n}, device);
        m.slices[m.count++] = {n,
                               parameter.mutable_data(),
                               velocity.mutable_data(),
                               contiguous(g, "g", m.dtype, {n}, device).data(),
                               low,
                               high,
                               static_cast<int32_t*>(flag.get())};
    }
    run(m, device);
    int32_t nonfinite = 0;
    copy_memory({}, &nonfinite, device, flag.get(), sizeof nonfinite);
    return !nonfinite;
}

AnyArray variance_gradient(const AnyArray& x, const AnyArray& bias, const AnyArray& contrast, const AnyArray& row_scale,
                           const AnyArray& row_dot, int64_t begin, int64_t end) {
    const DType dtype = dtype_of(x, "x");
    const Device device = x.device();
    contiguous(x, "x", dtype, {-1, -1}, device);
    const int64_t rows = x.shape(0), n = x.shape(1);
    check(0 <= begin && begin <= end && end <= n, "begin and end are no units");
    AnyArray dz = new_array(dtype, {n}, device);
    dz.clear();
    run(VarianceGradient{rows, n, begin, end, x.data(), contiguous(bias, "bias", dtype, {n}, device).data(),
                         contiguous(contrast, "contrast", dtype, {rows}, device).data(),
                         contiguous(row_scale, "row_scale", dtype, {n}, device).data(),
                         contiguous(row_dot, "row_dot", dtype, {n}, device).data(), dz.mutable_data(), dtype},
        device);
    return dz;
}

py::tuple variances(const AnyArray& z) {
    const DType dtype = dtype_of(z, "z");
    contiguous(z, "z", dtype, {-1}, z.device());
    AnyArray precision = new_array(dtype, {z.size()}, z.device()), sigma = new_array(dtype, {z.size()}, z.device());
    run(Variances{z.size(), z.data(), precision.mutable_data(), sigma.mutable_data(), dtype}, z.device());
    return py::make_tuple(precision, sigma);
}

AnyArray shape_gradient(const AnyArray& states, const AnyArray& contrast, const AnyArray& shape, double scale,
                        int64_t begin, int64_t end) {
    const DType dtype = dtype_of(states, "states");
    const Device device = states.device();
    contiguous(states, "states", dtype, {-1, -1}, device);
    const int64_t rows = states.shape(0), n = states.shape(1);
    check(0 <= begin && begin <= end && end <= n, "begin and end are no units");
    AnyArray gradient = new_array(dtype, {2, n}, device);
    gradient.clear();
    run(ShapeGradient{rows, n, begin, end, states.data(),
                      contiguous(contrast, "contrast", dtype, {rows}, device).data(),
                      contiguous(shape, "shape", dtype, {2, n}, device).data(), scale, gradient.mutable_data(), dtype},
        device);
    return gradient;
}

AnyArray weigh_annealed(const AnyArray& states, const AnyArray& log_z, const AnyArray& shift, double sign,
                        double factor) {
    const DType dtype = dtype_of(shift, "shift");
    const Device device = shift.device();
    check(states.ndim() == 2 && states.device() == device, "states has shape " + shape_of(states));
    const int64_t rows = states.shape(0), n = states.shape(1);
    const Bits bits = is_boolean(states) ? packed_bits(states) : Bits();
    if (!bits.memory) contiguous(states, "states", dtype, {rows, n}, device);
    const Left left = bits.memory ? bit_rows(bits.data(), n) : Left{states.data(), n, 1};
    AnyArray log_weight = new_array(DType::f64, {rows}, device);
    log_weight.clear();
    run(WeighAnnealed{rows, n, left, contiguous(log_z, "log_z", dtype, {rows}, device).data(),
                      contiguous(shift, "shift", dtype, {n}, device).data(), sign, factor,
                      static_cast<double*>(log_weight.mutable_data()), dtype},
        device);
    return log_weight;
}

py::tuple exchange_states(const AnyArray& states, const AnyArray& beside, const AnyArray& log_ratio, int64_t levels,
                          int64_t first, uint64_t seed, uint32_t step) {
    const DType dtype = dtype_of(beside, "beside");
    const Device device = beside.device();
    check(levels > 0 && (first == 0 || first == 1), "levels and first are no pairs of temperatures");
    check(states.ndim() == 2 && is_boolean(states) && states.device() == device && states.shape(0) % levels == 0,
          "states has shape " + shape_of(states));
    const int64_t rows = states.shape(0), n = states.shape(1);
    contiguous(beside, "beside", dtype, {rows, -1}, device);
    const Bits bits = packed_bits(states);
    AnyArray moved = new_array(dtype, {rows, beside.shape(1)}, device),
             tally = new_array(DType::f64, {2 * levels}, device);
    copy_memory(device, moved.mutable_data(), device, beside.data(), beside.nbytes());
    tally.clear();
    ExchangeStates p{levels,
                     rows / levels,
                     first,
                     static_cast<const double*>(contiguous(log_ratio, "log_ratio", DType::f64, {rows}, device).data()),
                     {bits.data(), static_cast<uint32_t*>(moved.mutable_data())},
                     {bit_words(n), beside.shape(1) * element_size(dtype) / 4},
                     static_cast<int64_t*>(tally.mutable_data()),
                     Draw{seed, step}};
    run(p, device);
    py::array_t<int64_t> counted({levels, int64_t(2)});
    copy_memory({}, counted.mutable_data(), device, tally.data(), tally.nbytes());
    return py::make_tuple(unpacked_bits(bits, rows, n), moved, counted);
}

}  // namespace

void bind_contrast(py::module_& m) {
    using namespace py::literals;
    m.def("contrast_gradient", &contrast_gradient, "dv"_a, "dh"_a, "precision"_a, "hidden_mean"_a, "visible_offset"_a,
          "hidden_offset"_a, "total"_a, "decay"_a = 0.0, "target"_a = -1.0, "cost"_a = 0.0, "centred"_a = false,
          "Gradients by the biases, and the terms of centring and sparsity, from an update's column sums.");
    m.def("selective_targets", &selective_targets, "activities"_a, "target"_a, "cost"_a,
          "Activities of hidden units (a row each), on the way to targets that are sparse and selective.");
    m.def("momentum_step", &momentum_step, "tensors"_a, "rate"_a, "momentum"_a, "low"_a, "high"_a,
          "A step up their gradients for tensors (p, v, g), in place; whether all is finite.");
    m.def("variance_gradient", &variance_gradient, "x"_a, "bias"_a, "contrast"_a, "row_scale"_a, "row_dot"_a, "begin"_a,
          "end"_a, "By the log variances of Gaussian units.");
    m.def("variances", &variances, "z"_a, "(precision, standard deviation) of log variances.");
    m.def("shape_gradient", &shape_gradient, "states"_a, "contrast"_a, "shape"_a, "scale"_a, "begin"_a, "end"_a,
          "By gaps and asymmetries of double rectified units.");
    m.def("weigh_annealed", &weigh_annealed, "states"_a, "log_z"_a, "shift"_a, "sign"_a, "factor"_a,
          "One step's part of the log weights of annealed importance sampling.");
    m.def("exchange_states", &exchange_states, "states"_a, "beside"_a, "log_ratio"_a, "levels"_a, "first"_a, "seed"_a,
          "step"_a,
          "Replica exchange of Boolean states, and of rows beside them: both, and the exchanges made and tried of each "
          "pair of temperatures.");
}

}  // namespace unsupfast::bind
