// Chains of Gibbs sampling over NumPy arrays, for tests: operands are packed, one kernel is run.
#include "array.h"
#include "bind/common.h"
#include "kernels/chain/op.h"
#include "kernels/layout/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

Array packed(int64_t k, int64_t n, const void* src, int64_t row_stride, int64_t col_stride, DType dtype, DType format) {
    Array out(format, panel_elements(format, k, n));
    run(PackPanels{k, n, src, row_stride, col_stride, out.data(), dtype, format});
    return out;
}

py::array_t<bool> booleans(const std::vector<uint32_t>& bits, int64_t m, int64_t n) {
    py::array_t<bool> out({m, n});
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j)
            out.mutable_data()[i * n + j] = bits[size_t(i * bit_words(n) + j / 32)] >> j % 32 & 1u;
    return out;
}

py::dict gibbs_chain(const py::array_t<bool, py::array::c_style>& states, const py::array& weights,
                     const py::array& near_bias, const py::array& far_bias, int64_t steps, const py::object& betas,
                     const py::object& base_bias, uint64_t seed, uint32_t first_step, uint32_t near_stream,
                     uint32_t far_stream, uint32_t first_row, const std::string& precision) {
    const DType dtype = dtype_of(weights, "weights"), format = format_from(precision, dtype);
    check(states.ndim() == 2 && weights.ndim() == 2 && weights.shape(0) == states.shape(1),
          "states and weights do not fit");
    check(steps >= 0, "steps is negative");
    GibbsChain p{};
    p.m = states.shape(0);
    p.near = weights.shape(0);
    p.far = weights.shape(1);
    p.steps = steps;
    contiguous(weights, "weights", dtype, {p.near, p.far});
    p.near_bias = contiguous(near_bias, "near_bias", dtype, {p.near}).data();
    p.far_bias = contiguous(far_bias, "far_bias", dtype, {p.far}).data();
    const Array to_far = packed(p.near, p.far, weights.data(), p.far, 1, dtype, format),
                to_near = packed(p.far, p.near, weights.data(), 1, p.far, dtype, format);
    p.to_far = to_far.data();
    p.to_near = to_near.data();
    std::vector<uint32_t> near(size_t(p.m * bit_words(p.near)) + 1), far(size_t(p.m * bit_words(p.far)) + 1);
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.near; ++j)
            near[size_t(i * bit_words(p.near) + j / 32)] |= uint32_t(states.data()[i * p.near + j]) << j % 32;
    py::array mean = new_array(dtype, {p.m, p.near}), log_weight = new_array(DType::f64, {p.m});
    std::memset(log_weight.mutable_data(), 0, size_t(log_weight.nbytes()));
    p.near_bits = near.data();
    p.far_bits = far.data();
    p.near_mean = mean.mutable_data();
    if (!betas.is_none()) {
        p.betas = static_cast<const double*>(contiguous(betas, "betas", DType::f64, {steps + 1}).data());
        p.base_bias = contiguous(base_bias, "base_bias", dtype, {p.near}).data();
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
        run(p);
    }
    py::dict out;
    out["near"] = booleans(near, p.m, p.near);
    if (steps > 0) out["far"] = booleans(far, p.m, p.far);
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
