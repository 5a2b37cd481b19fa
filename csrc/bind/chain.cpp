// Chains of Gibbs sampling for tests: operands are packed, one kernel is run.
#include "array.h"
#include "bind/bits.h"
#include "kernels/chain/op.h"
#include "kernels/layout/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

Array packed(const AnyArray& w, bool turned, DType dtype, DType format) {
    const int64_t rows = w.shape(0), cols = w.shape(1);
    Array out(format, turned ? panel_elements(format, cols, rows) : panel_elements(format, rows, cols), w.device());
    run(turned ? PackPanels{cols, rows, w.data(), 1, cols, out.data(), dtype, format}
               : PackPanels{rows, cols, w.data(), cols, 1, out.data(), dtype, format},
        w.device());
    return out;
}

py::dict gibbs_chain(const AnyArray& states, const AnyArray& weights, const AnyArray& near_bias,
                     const AnyArray& far_bias, int64_t steps, const py::object& betas, const py::object& base_bias,
                     uint64_t seed, uint32_t first_step, uint32_t near_stream, uint32_t far_stream, uint32_t first_row,
                     const std::string& precision) {
    const DType dtype = dtype_of(weights, "weights"), format = format_from(precision, dtype);
    const Device device = weights.device();
    check(is_boolean(states) && states.device() == device && states.ndim() == 2 && weights.ndim() == 2 &&
              weights.shape(0) == states.shape(1),
          "states and weights do not fit");
    check(steps >= 0, "steps is negative");
    GibbsChain p{};
    p.m = states.shape(0);
    p.near = weights.shape(0);
    p.far = weights.shape(1);
    p.steps = steps;
    contiguous(weights, "weights", dtype, {p.near, p.far}, device);
    p.near_bias = contiguous(near_bias, "near_bias", dtype, {p.near}, device).data();
    p.far_bias = contiguous(far_bias, "far_bias", dtype, {p.far}, device).data();
    const Array to_far = packed(weights, false, dtype, format), to_near = packed(weights, true, dtype, format);
    p.to_far = to_far.data();
    p.to_near = to_near.data();
    const Bits near = packed_bits(states), far(p.m, p.far, device);
    AnyArray mean = new_array(dtype, {p.m, p.near}, device), log_weight = new_array(DType::f64, {p.m}, device);
    log_weight.clear();
    p.near_bits = near.data();
    p.far_bits = far.data();
    p.near_mean = mean.mutable_data();
    if (!betas.is_none()) {
        p.betas = static_cast<const double*>(
            contiguous(betas.cast<AnyArray>(), "betas", DType::f64, {steps + 1}, device).data());
        p.base_bias = contiguous(base_bias.cast<AnyArray>(), "base_bias", dtype, {p.near}, device).data();
        p.log_weight = static_cast<double*>(log_weight.mutable_data());
    }
    p.seed = seed;
    p.first_step = first_step;
    p.near_stream = near_stream;
    p.far_stream = far_stream;
    p.first_row = first_row;
    p.dtype = dtype;
    p.format = format;
    {
        py::gil_scoped_release release;
        run(p, device);
    }
    py::dict out;
    out["near"] = unpacked_bits(near, p.m, p.near);
    if (steps > 0) out["far"] = unpacked_bits(far, p.m, p.far);
    if (steps > 0 && !p.betas) out["mean"] = mean;
    if (p.betas) out["log_weight"] = log_weight;
    return out;
}

}  // namespace

void bind_chain(py::module_& m) {
    using namespace py::literals;
    m.def("gibbs_chain", &gibbs_chain, "states"_a, "weights"_a, "near_bias"_a, "far_bias"_a, "steps"_a,
          "betas"_a = py::none(), "base_bias"_a = py::none(), "seed"_a = 0, "first_step"_a = 0, "near_stream"_a = 0,
          "far_stream"_a = 1, "first_row"_a = 0, "precision"_a = "float32",
          "Alternations of Gibbs sampling of Bernoulli layers, or of annealing where betas are given: near and far "
          "states, and the last means or the log weights.");
}

}  // namespace unsupfast::bind
