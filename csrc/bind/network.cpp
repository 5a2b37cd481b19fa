// The operations of feed-forward networks over NumPy arrays. Weights are arrays of panels, (panels, k, 32).
#include "array.h"
#include "bind/common.h"
#include "kernels/batch/op.h"
#include "kernels/dense/op.h"
#include "kernels/dropout/op.h"
#include "kernels/latent/op.h"
#include "kernels/layout/op.h"
#include "kernels/loss/op.h"
#include "kernels/optim/op.h"
#include "kernels/penalty/op.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

template <class E>
E named(const std::string& name, std::initializer_list<std::pair<const char*, E>> names, const char* argument) {
    std::string known;
    for (const auto& [text, value] : names) {
        if (name == text) return value;
        known += (known.empty() ? "'" : ", '") + std::string(text) + "'";
    }
    throw py::value_error(std::string(argument) + " is '" + name + "'; expected one of " + known);
}

Activation activation(const std::string& name) {
    return named<Activation>(name,
                             {{"identity", Activation::identity},
                              {"sigmoid", Activation::sigmoid},
                              {"tanh", Activation::tanh},
                              {"relu", Activation::relu},
                              {"leaky_relu", Activation::leaky_relu},
                              {"elu", Activation::elu},
                              {"softplus", Activation::softplus}},
                             "activation");
}

DType format_of(bool bf16, DType dtype) {
    check(!bf16 || dtype == DType::f32, "bf16 needs float32 data");
    return bf16 ? DType::bf16 : dtype;
}

// A checked row-major matrix.
struct Matrix {
    const void* data;
    int64_t rows, cols;
    Left left() const { return {data, cols, 1}; }
    Left transposed() const { return {data, 1, cols}; }
};

Matrix matrix(const py::array& a, const char* name, DType dtype, int64_t rows = -1, int64_t cols = -1) {
    contiguous(a, name, dtype, {rows, cols});
    return {a.data(), a.shape(0), a.shape(1)};
}

const void* optional(const py::object& a, const char* name, DType dtype, std::vector<int64_t> shape) {
    return a.is_none() ? nullptr : contiguous(a, name, dtype, std::move(shape)).data();
}

// w are panels of a matrix of `inputs` rows and `outputs` columns.
const void* weights(const py::array& w, DType dtype, int64_t inputs, int64_t outputs) {
    return contiguous(w, "w", dtype, {panels(outputs), inputs, kPanel}).data();
}

py::array dense(const py::array& x, const py::array& w, int64_t n, const py::object& bias, const std::string& act,
                bool turned, bool bf16) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype);
    Dense p{in.rows,
            n,
            in.cols,
            in.left(),
            nullptr,
            turned,
            optional(bias, "bias", dtype, {n}),
            activation(act),
            nullptr,
            dtype,
            format_of(bf16, dtype)};
    p.w = turned ? weights(w, dtype, n, in.cols) : weights(w, dtype, in.cols, n);
    py::array y = new_array(dtype, {p.m, n});
    p.y = y.mutable_data();
    py::gil_scoped_release release;
    run(p);
    return y;
}

// The weight gradient of y = x w: panels of x' g.
py::array outer(const py::array& x, const py::array& g, bool bf16) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype), out = matrix(g, "g", dtype, in.rows);
    const DType format = format_of(bf16, dtype);
    py::array w = new_array(dtype, {panels(out.cols), in.cols, kPanel});
    void* to = w.mutable_data();
    py::gil_scoped_release release;
    thread_local Array right;
    right.reserve(format, panel_elements(format, in.rows, out.cols));
    run(PackPanels{in.rows, out.cols, out.data, out.cols, 1, right.data(), dtype, format});
    const Product product{in.rows, in.transposed(), right.data()};
    run(DenseWeight{in.cols, out.cols, &product, 1, nullptr, nullptr, 0, to, dtype, format});
    return w;
}

py::array gate(const py::array& g, const py::array& y, const std::string& act) {
    const DType dtype = dtype_of(g, "g");
    const Matrix in = matrix(g, "g", dtype);
    matrix(y, "y", dtype, in.rows, in.cols);
    py::array z = new_array(dtype, {in.rows, in.cols});
    run(Gate{in.rows, in.cols, in.data, y.data(), activation(act), z.mutable_data(), nullptr, nullptr, dtype, dtype});
    return z;
}

py::tuple likelihood(const py::array& z, const py::array& x, const std::string& loss, double scale, int64_t repeat,
                     const py::object& row_scale, bool want_grad) {
    const DType dtype = dtype_of(z, "z");
    const Matrix in = matrix(z, "z", dtype);
    check(repeat >= 1 && in.rows % repeat == 0, "repeat does not divide the rows of z");
    matrix(x, "x", dtype, in.rows / repeat, in.cols);
    py::array value = new_array(dtype, {in.rows});
    py::object grad = py::none();
    if (want_grad) grad = new_array(dtype, {in.rows, in.cols});
    const Likelihood p{in.rows,
                       in.cols,
                       in.data,
                       x.data(),
                       repeat,
                       named<Loss>(loss,
                                   {{"squared", Loss::squared},
                                    {"bernoulli", Loss::bernoulli},
                                    {"continuous_bernoulli", Loss::continuous_bernoulli},
                                    {"categorical", Loss::categorical}},
                                   "loss"),
                       scale,
                       optional(row_scale, "row_scale", dtype, {in.rows}),
                       value.mutable_data(),
                       want_grad ? grad.cast<py::array>().mutable_data() : nullptr,
                       dtype};
    {
        py::gil_scoped_release release;
        run(p);
    }
    return py::make_tuple(value, grad);
}

py::tuple latent(const py::array& head, int64_t samples, uint64_t seed, uint32_t step, uint32_t stream,
                 uint32_t first_row) {
    const DType dtype = dtype_of(head, "head");
    const Matrix in = matrix(head, "head", dtype);
    check(in.cols % 2 == 0, "head has an odd number of columns");
    check(samples >= 1, "samples must be at least 1");
    const int64_t n = in.cols / 2;
    py::array z = new_array(dtype, {in.rows * samples, n}), eps = new_array(dtype, {in.rows * samples, n});
    py::array kl = new_array(dtype, {in.rows, n});
    run(Latent{in.rows, n, samples, in.data, Draw{seed, step, stream, first_row}, z.mutable_data(), eps.mutable_data(),
               kl.mutable_data(), dtype});
    return py::make_tuple(z, eps, kl);
}

py::array latent_grad(const py::array& head, const py::array& eps, const py::object& gz, const py::object& gkl) {
    const DType dtype = dtype_of(head, "head");
    const Matrix in = matrix(head, "head", dtype);
    const int64_t n = in.cols / 2, rows = eps.shape(0);
    check(in.cols % 2 == 0 && (in.rows == 0 ? rows == 0 : rows % in.rows == 0), "eps does not fit head");
    matrix(eps, "eps", dtype, rows, n);
    py::array out = new_array(dtype, {in.rows, in.cols});
    run(LatentGrad{in.rows, n, in.rows ? rows / in.rows : 1, in.data, eps.data(), optional(gz, "gz", dtype, {rows, n}),
                   optional(gkl, "gkl", dtype, {in.rows, n}), out.mutable_data(), dtype});
    return out;
}

py::array dropout(const py::array& x, double rate, uint64_t seed, uint32_t step, uint32_t stream, uint32_t first_row) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype);
    check(rate >= 0 && rate < 1, "rate is " + std::to_string(rate) + "; expected a number in [0, 1)");
    py::array y = new_array(dtype, {in.rows, in.cols});
    run(Dropout{in.rows, in.cols, in.data, rate, Draw{seed, step, stream, first_row}, y.mutable_data(), dtype});
    return y;
}

py::array column_norms(const py::array& w, int64_t n) {
    const DType dtype = dtype_of(w, "w");
    check(w.ndim() == 3, "w has shape " + shape_of(w) + "; expected panels");
    weights(w, dtype, w.shape(1), n);
    py::array out = new_array(dtype, {n});
    run(ColumnNorms{w.shape(1), n, w.data(), out.mutable_data(), dtype});
    return out;
}

py::tuple contraction(const py::array& h, const py::array& norms, const std::string& act, double scale) {
    const DType dtype = dtype_of(h, "h");
    const Matrix in = matrix(h, "h", dtype);
    contiguous(norms, "norms", dtype, {in.cols});
    py::array value = new_array(dtype, {in.rows}), by_h = new_array(dtype, {in.rows, in.cols});
    py::array by_norms = new_array(dtype, {in.cols});
    run(Contraction{in.rows, in.cols, in.data, norms.data(), activation(act), scale, value.mutable_data(),
                    by_h.mutable_data(), by_norms.mutable_data(), dtype});
    return py::make_tuple(value, by_h, by_norms);
}

py::tuple take_rows(const py::object& x, const py::array_t<int64_t, py::array::c_style>& index, int64_t cols,
                    const std::string& corruption, double amount, uint64_t seed, uint32_t step, uint32_t stream) {
    const Corruption how = named<Corruption>(corruption,
                                             {{"none", Corruption::none},
                                              {"masking", Corruption::masking},
                                              {"salt_pepper", Corruption::salt_pepper},
                                              {"gaussian", Corruption::gaussian}},
                                             "corruption");
    TakeRows p{};
    py::object owner;
    int64_t rows = 0;
    if (py::isinstance<py::tuple>(x)) {
        const auto t = x.cast<py::tuple>();
        check(t.size() == 3, "x: CSR is (indptr, indices, values)");
        p.dtype = dtype_of(py::array::ensure(t[2]), "x");
        const CsrArgument csr = csr_argument(t, p.dtype, cols, "x");
        p.x = {csr.values, 0, 1, csr.indptr, csr.indices, nullptr};
        rows = csr.rows;
        owner = csr.owner;
    } else {
        const auto a = py::array::ensure(x);
        if (!a) throw py::type_error("x is not an array");
        p.dtype = dtype_of(a, "x");
        p.x = matrix(a, "x", p.dtype, -1, cols).left();
        rows = a.shape(0);
        owner = a;
    }
    check(index.ndim() == 1, "index has shape " + shape_of(index) + "; expected one dimension");
    p.m = index.size();
    p.n = cols;
    p.index = index.data();
    for (int64_t i = 0; i < p.m; ++i) check(p.index[i] >= 0 && p.index[i] < rows, "index is out of range");
    p.corruption = how;
    p.amount = amount;
    p.draw = Draw{seed, step, stream, 0};
    py::array clean = new_array(p.dtype, {p.m, cols});
    p.clean = clean.mutable_data();
    py::object corrupted = clean;
    if (how != Corruption::none) {
        py::array noisy = new_array(p.dtype, {p.m, cols});
        p.corrupted = noisy.mutable_data();
        corrupted = noisy;
    }
    {
        py::gil_scoped_release release;
        run(p);
    }
    return py::make_tuple(clean, corrupted);
}

using Memory = std::shared_ptr<void>;
Memory memory(DType t, int64_t elements) {
    return {take_memory(size_t(elements) * size_t(element_size(t))), give_memory_back};
}

// The gradient of a weight w in panels, not computed yet: products, multiples of the columns of w, and an array, which
// are added up when all uses of w have given theirs. A step of an optimiser takes the sum as it is computed
// (Step::descend), so that the gradient never reaches memory.
class WeightGradient {
  public:
    WeightGradient(py::array w, int64_t n) : w_(std::move(w)), n_(n), dtype_(dtype_of(w_, "w")), format_(dtype_) {
        check(w_.ndim() == 3, "w has shape " + shape_of(w_) + "; expected panels");
        weights(w_, dtype_, w_.shape(1), n);
    }
    const py::array& w() const { return w_; }
    const py::object& before() const { return before_; }

    // `rows` and `right` hold the memory that the product reads.
    void add_product(const Product& product, DType format, py::object x, Memory rows, Memory right) {
        if (format != format_ && !products_.empty()) settle();
        format_ = format;
        products_.push_back(product);
        kept_.push_back({std::move(x), std::move(rows), std::move(right)});
    }
    void add_columns(const py::array& numbers) {
        contiguous(numbers, "numbers", dtype_, {n_});
        columns_ = columns_.is_none() ? py::object(numbers) : columns_ + numbers;
    }
    void add(const py::array& g) {
        contiguous(g, "g", dtype_, {w_.shape(0), w_.shape(1), kPanel});
        before_ = before_.is_none() ? py::object(g) : before_ + g;
    }
    // The sum, in a new array.
    py::array array() const {
        py::array out = new_array(dtype_, {w_.shape(0), w_.shape(1), kPanel});
        void* to = out.mutable_data();
        if (!before_.is_none()) std::memcpy(to, before_.cast<py::array>().data(), size_t(out.nbytes()));
        const DenseWeight p{
            w_.shape(1), n_,     products_.data(), count(), w_.data(), columns(), before_.is_none() ? 0. : 1.,
            to,          dtype_, format_};
        py::gil_scoped_release release;
        run(p);
        return out;
    }
    DenseUpdate update(const Optimise& step) const {
        return {w_.shape(1), n_, products_.data(), count(), columns(), step, dtype_, format_};
    }

  private:
    int64_t count() const { return int64_t(products_.size()); }
    const void* columns() const { return columns_.is_none() ? nullptr : columns_.cast<py::array>().data(); }
    void settle() {
        before_ = array();
        columns_ = py::none();
        products_.clear();
        kept_.clear();
    }

    struct Kept {
        py::object x;
        Memory rows, right;
    };
    py::array w_;
    int64_t n_;
    DType dtype_, format_;
    std::vector<Product> products_;
    std::vector<Kept> kept_;
    py::object columns_ = py::none(), before_ = py::none();
};

// The numbers of one step of an optimiser, for any tensors.
struct Step {
    Optimise numbers{};
    bool has_m = false, has_v = false;
    int32_t nonfinite = 0;

    Step(const std::string& rule, double rate, double beta1, double beta2, double eps, int64_t step, double scale,
         double limit, bool nesterov) {
        Optimise& o = numbers;
        o.rule = named<Rule>(rule,
                             {{"sgd", Rule::sgd},
                              {"momentum", Rule::momentum},
                              {"rmsprop", Rule::rmsprop},
                              {"adam", Rule::adam},
                              {"adamw", Rule::adamw}},
                             "rule");
        has_m = o.rule == Rule::momentum || o.rule == Rule::adam || o.rule == Rule::adamw;
        has_v = o.rule == Rule::rmsprop || o.rule == Rule::adam || o.rule == Rule::adamw;
        check(step >= 1, "step counts from 1");
        check(eps > 0 || !has_v, "eps must be positive");
        o.nesterov = nesterov;
        o.rate = rate;
        o.beta1 = beta1;
        o.beta2 = beta2;
        o.eps = eps;
        o.c1 = 1 - std::pow(beta1, double(step));
        o.c2 = 1 - std::pow(beta2, double(step));
        o.scale = scale;
        o.limit = limit;
        o.nonfinite = &nonfinite;
    }
    Step(const Step&) = delete;

    // (p, m or None, v or None, decay) and the gradient, which may be absent
    Slice slice(const py::tuple& t, const void* g, DType dtype) const {
        check(t.size() == 4, "a tensor is (p, m, v, decay)");
        auto p = t[0].cast<py::array>();
        const auto ready = [&](const py::object& x, const char* name) {
            auto a = x.cast<py::array>();
            if (dtype_of(a, name) != dtype) throw py::type_error(std::string(name) + " has the wrong dtype");
            check(a.size() == p.size() && (a.flags() & py::array::c_style), std::string(name) + " does not fit p");
            return a.mutable_data();
        };
        return {p.size(),
                ready(p, "p"),
                g,
                has_m ? ready(t[1], "m") : nullptr,
                has_v ? ready(t[2], "v") : nullptr,
                t[3].cast<double>()};
    }

    void descend(const py::tuple& tensor, const WeightGradient& g) {
        const DType dtype = dtype_of(g.w(), "w");
        const Slice s = slice(tensor, g.before().is_none() ? nullptr : g.before().cast<py::array>().data(), dtype);
        check(s.p == g.w().data(), "g is the gradient of another tensor");
        Optimise o = numbers;
        o.slices = &s;
        o.count = 1;
        o.dtype = dtype;
        const DenseUpdate p = g.update(o);
        py::gil_scoped_release release;
        run(p);
    }

    void apply(const std::vector<std::pair<py::tuple, py::array>>& tensors) {
        if (tensors.empty()) return;
        Optimise o = numbers;
        o.dtype = dtype_of(tensors[0].second, "g");
        std::vector<Slice> slices;
        for (const auto& [tensor, g] : tensors) {
            const Slice s = slice(tensor, g.data(), o.dtype);
            check(dtype_of(g, "g") == o.dtype && g.size() == s.n && (g.flags() & py::array::c_style),
                  "g does not fit p");
            slices.push_back(s);
        }
        o.slices = slices.data();
        o.count = int64_t(slices.size());
        py::gil_scoped_release release;
        run(o);
    }
};

// Everything a dense layer passes back: gradients by x (if wanted), by w and by the bias. The one by w is begun, or
// is `into`, to which this use of w adds its product.
py::tuple dense_grad(const py::array& g, const py::array& y, const py::array& x, const py::array& w,
                     const std::string& act, bool turned, bool bf16, bool want_x, bool want_w, py::object into) {
    const DType dtype = dtype_of(x, "x"), format = format_of(bf16, dtype);
    const Matrix in = matrix(x, "x", dtype), gy = matrix(g, "g", dtype, in.rows);
    const int64_t m = in.rows, k = in.cols, n = gy.cols;
    matrix(y, "y", dtype, m, n);
    const Activation a = activation(act);
    const void* panels_of_w = turned ? weights(w, dtype, n, k) : weights(w, dtype, k, n);
    py::object gx = py::none();
    py::array gb = new_array(dtype, {n});
    if (want_x) gx = new_array(dtype, {m, k});
    if (want_w && into.is_none()) into = py::cast(WeightGradient(w, turned ? k : n));
    WeightGradient* gw = want_w ? &into.cast<WeightGradient&>() : nullptr;
    check(!gw || gw->w().is(w), "into is the gradient of another w");
    void* to_x = want_x ? gx.cast<py::array>().mutable_data() : nullptr;
    void* to_b = gb.mutable_data();
    const bool plain = a == Activation::identity;
    const Memory rows = plain ? nullptr : memory(dtype, m * n);
    const Memory right = want_w ? memory(format, panel_elements(format, m, turned ? k : n)) : nullptr;
    const void* z = plain ? gy.data : rows.get();
    {
        py::gil_scoped_release release;
        run(Gate{m, n, gy.data, plain ? nullptr : y.data(), a, rows.get(), turned ? nullptr : right.get(), to_b, dtype,
                 format});
        if (want_x)
            run(Dense{m, k, n, Left{z, n, 1}, panels_of_w, !turned, nullptr, Activation::identity, to_x, dtype,
                      format});
        if (want_w && turned) run(PackPanels{m, k, in.data, k, 1, right.get(), dtype, format});
    }
    if (gw)
        gw->add_product({m, turned ? Left{z, 1, n} : in.transposed(), right.get()}, format, turned ? g : x, rows,
                        right);
    return py::make_tuple(gx, want_w ? into : py::none(), gb);
}

}  // namespace

void bind_network(py::module_& m) {
    using namespace py::literals;
    m.def("dense", &dense, "x"_a, "w"_a, "n"_a, "bias"_a = py::none(), "activation"_a = "identity", "turned"_a = false,
          "bf16"_a = false, "activation(x w + bias), or with the transpose of w.");
    m.def("outer", &outer, "x"_a, "g"_a, "bf16"_a = false, "Panels of x' g.");
    m.def("gate", &gate, "g"_a, "y"_a, "activation"_a, "g activation'(y), the derivative taken from the output y.");
    m.def("dense_grad", &dense_grad, "g"_a, "y"_a, "x"_a, "w"_a, "activation"_a = "identity", "turned"_a = false,
          "bf16"_a = false, "want_x"_a = true, "want_w"_a = true, "into"_a = py::none(),
          "Gradients of a dense layer by x, w (a WeightGradient, `into` where given) and bias.");
    m.def("likelihood", &likelihood, "z"_a, "x"_a, "loss"_a, "scale"_a = 1.0, "repeat"_a = 1,
          "row_scale"_a = py::none(), "want_grad"_a = true, "The loss of every row, and its gradient by z.");
    m.def("latent", &latent, "head"_a, "samples"_a = 1, "seed"_a = 0, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "Reparameterised codes, their noise, and the divergence of every dimension.");
    m.def("latent_grad", &latent_grad, "head"_a, "eps"_a, "gz"_a = py::none(), "gkl"_a = py::none(),
          "The gradient of `latent` by head.");
    m.def("dropout", &dropout, "x"_a, "rate"_a, "seed"_a = 0, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "x with entries left out at random, the others divided by 1 - rate.");
    m.def("take_rows", &take_rows, "x"_a, "index"_a, "cols"_a, "corruption"_a = "none", "amount"_a = 0.0, "seed"_a = 0,
          "step"_a = 0, "stream"_a = 0, "Rows of x, and the same rows corrupted.");
    py::class_<WeightGradient>(m, "WeightGradient",
                               "The gradient of a weight in panels, a sum that is not computed yet.")
        .def(py::init<py::array, int64_t>(), "w"_a, "n"_a)
        .def("add", &WeightGradient::add, "g"_a, "Adds an array of panels.")
        .def("add_columns", &WeightGradient::add_columns, "numbers"_a, "Adds the columns of w times these numbers.")
        .def("array", &WeightGradient::array, "The sum, in a new array.");
    py::class_<Step>(m, "Step", "One step of gradient descent on any number of tensors (p, m, v, decay), in place.")
        .def(py::init<const std::string&, double, double, double, double, int64_t, double, double, bool>(), "rule"_a,
             "rate"_a, "beta1"_a = 0.9, "beta2"_a = 0.999, "eps"_a = 1e-8, "step"_a = 1, "scale"_a = 1.0,
             "limit"_a = 0.0, "nesterov"_a = false)
        .def("apply", &Step::apply, "tensors"_a, "Steps tensors, given as pairs of tensor and gradient.")
        .def("descend", &Step::descend, "tensor"_a, "g"_a, "Steps a weight along a sum while it is computed.")
        .def_property_readonly(
            "finite", [](const Step& s) { return s.nonfinite == 0; }, "False once a stepped value was Inf or NaN.");
    m.def("column_norms", &column_norms, "w"_a, "n"_a, "Squared norms of the columns of a matrix in panels.");
    m.def("contraction", &contraction, "h"_a, "norms"_a, "activation"_a, "scale"_a = 1.0,
          "Squared Frobenius norm of a layer's Jacobian for every row, and its gradients by h and norms.");
    m.def("trim_memory", &trim_memory, "Hands memory kept for reuse back to the system.");
}

}  // namespace unsupfast::bind
