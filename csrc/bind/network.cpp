// The operations of feed-forward networks over arrays on any device. Weights are arrays of panels, (panels, k, 32).
#include <map>
#include <optional>

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
    Device device;
    Left left() const { return {data, cols, 1}; }
    Left transposed() const { return {data, 1, cols}; }
};

using Memory = std::shared_ptr<void>;
Memory memory(DType t, int64_t elements, Device device) {
    return memory_on(device, size_t(elements) * size_t(element_size(t)));
}

// The argument that decides where an operation runs.
Matrix matrix(const AnyArray& a, const char* name, DType dtype) {
    contiguous(a, name, dtype, {-1, -1}, a.device());
    return {a.data(), a.shape(0), a.shape(1), a.device()};
}
// One that has to be where that is.
Matrix matrix(const AnyArray& a, const char* name, DType dtype, Device device, int64_t rows, int64_t cols = -1) {
    contiguous(a, name, dtype, {rows, cols}, device);
    return {a.data(), a.shape(0), a.shape(1), device};
}

const void* optional(const py::object& a, const char* name, DType dtype, const std::vector<int64_t>& shape,
                     Device device) {
    return a.is_none() ? nullptr : contiguous(a.cast<AnyArray>(), name, dtype, shape, device).data();
}

// w are panels of a matrix of `inputs` rows and `outputs` columns.
const void* weights(const AnyArray& w, DType dtype, int64_t inputs, int64_t outputs, Device device) {
    return contiguous(w, "w", dtype, {panels(outputs), inputs, kPanel}, device).data();
}

AnyArray dense(const AnyArray& x, const AnyArray& w, int64_t n, const py::object& bias, const std::string& act,
               bool turned, bool bf16) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype);
    Dense p{in.rows,
            n,
            in.cols,
            in.left(),
            nullptr,
            turned,
            optional(bias, "bias", dtype, {n}, in.device),
            activation(act),
            nullptr,
            dtype,
            format_of(bf16, dtype)};
    p.w = turned ? weights(w, dtype, n, in.cols, in.device) : weights(w, dtype, in.cols, n, in.device);
    AnyArray y = new_array(dtype, {p.m, n}, in.device);
    p.y = y.mutable_data();
    py::gil_scoped_release release;
    run(p, in.device);
    return y;
}

// The weight gradient of y = x w: panels of x' g.
AnyArray outer(const AnyArray& x, const AnyArray& g, bool bf16) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype), out = matrix(g, "g", dtype, in.device, in.rows);
    const DType format = format_of(bf16, dtype);
    AnyArray w = new_array(dtype, {panels(out.cols), in.cols, kPanel}, in.device);
    void* to = w.mutable_data();
    py::gil_scoped_release release;
    const Memory right = memory(format, panel_elements(format, in.rows, out.cols), in.device);
    run(PackPanels{in.rows, out.cols, out.data, out.cols, 1, right.get(), dtype, format}, in.device);
    const Product product{in.rows, in.transposed(), right.get()};
    run(DenseWeight{in.cols, out.cols, &product, 1, nullptr, nullptr, 0, to, dtype, format}, in.device);
    return w;
}

AnyArray gate(const AnyArray& g, const AnyArray& y, const std::string& act) {
    const DType dtype = dtype_of(g, "g");
    const Matrix in = matrix(g, "g", dtype);
    matrix(y, "y", dtype, in.device, in.rows, in.cols);
    AnyArray z = new_array(dtype, {in.rows, in.cols}, in.device);
    run(Gate{in.rows, in.cols, in.data, y.data(), activation(act), z.mutable_data(), nullptr, nullptr, dtype, dtype},
        in.device);
    return z;
}

py::tuple likelihood(const AnyArray& z, const AnyArray& x, const std::string& loss, double scale, int64_t repeat,
                     const py::object& row_scale, bool want_grad) {
    const DType dtype = dtype_of(z, "z");
    const Matrix in = matrix(z, "z", dtype);
    check(repeat >= 1 && in.rows % repeat == 0, "repeat does not divide the rows of z");
    matrix(x, "x", dtype, in.device, in.rows / repeat, in.cols);
    AnyArray value = new_array(dtype, {in.rows}, in.device), grad;
    if (want_grad) grad = new_array(dtype, {in.rows, in.cols}, in.device);
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
                       optional(row_scale, "row_scale", dtype, {in.rows}, in.device),
                       value.mutable_data(),
                       want_grad ? grad.mutable_data() : nullptr,
                       dtype};
    {
        py::gil_scoped_release release;
        run(p, in.device);
    }
    return py::make_tuple(value, want_grad ? grad.object() : py::none());
}

py::tuple latent(const AnyArray& head, int64_t samples, uint64_t seed, uint32_t step, uint32_t stream,
                 uint32_t first_row, const py::object& clock) {
    const DType dtype = dtype_of(head, "head");
    const Matrix in = matrix(head, "head", dtype);
    check(in.cols % 2 == 0, "head has an odd number of columns");
    check(samples >= 1, "samples must be at least 1");
    const int64_t n = in.cols / 2;
    AnyArray z = new_array(dtype, {in.rows * samples, n}, in.device);
    AnyArray eps = new_array(dtype, {in.rows * samples, n}, in.device), kl = new_array(dtype, {in.rows, n}, in.device);
    const Draw draw{seed, step, stream, first_row, nullptr, clock_of(clock, in.device)};
    run(Latent{in.rows, n, samples, in.data, draw, z.mutable_data(), eps.mutable_data(), kl.mutable_data(), dtype},
        in.device);
    return py::make_tuple(z, eps, kl);
}

AnyArray latent_grad(const AnyArray& head, const AnyArray& eps, const py::object& gz, const py::object& gkl) {
    const DType dtype = dtype_of(head, "head");
    const Matrix in = matrix(head, "head", dtype);
    const int64_t n = in.cols / 2, rows = eps.shape(0);
    check(in.cols % 2 == 0 && (in.rows == 0 ? rows == 0 : rows % in.rows == 0), "eps does not fit head");
    matrix(eps, "eps", dtype, in.device, rows, n);
    AnyArray out = new_array(dtype, {in.rows, in.cols}, in.device);
    run(LatentGrad{in.rows, n, in.rows ? rows / in.rows : 1, in.data, eps.data(),
                   optional(gz, "gz", dtype, {rows, n}, in.device),
                   optional(gkl, "gkl", dtype, {in.rows, n}, in.device), out.mutable_data(), dtype},
        in.device);
    return out;
}

AnyArray dropout(const AnyArray& x, double rate, uint64_t seed, uint32_t step, uint32_t stream, uint32_t first_row,
                 const py::object& clock) {
    const DType dtype = dtype_of(x, "x");
    const Matrix in = matrix(x, "x", dtype);
    check(rate >= 0 && rate < 1, "rate is " + std::to_string(rate) + "; expected a number in [0, 1)");
    AnyArray y = new_array(dtype, {in.rows, in.cols}, in.device);
    const Draw draw{seed, step, stream, first_row, nullptr, clock_of(clock, in.device)};
    run(Dropout{in.rows, in.cols, in.data, rate, draw, y.mutable_data(), dtype}, in.device);
    return y;
}

AnyArray column_norms(const AnyArray& w, int64_t n) {
    const DType dtype = dtype_of(w, "w");
    check(w.ndim() == 3, "w has shape " + shape_of(w) + "; expected panels");
    weights(w, dtype, w.shape(1), n, w.device());
    AnyArray out = new_array(dtype, {n}, w.device());
    run(ColumnNorms{w.shape(1), n, w.data(), out.mutable_data(), dtype}, w.device());
    return out;
}

py::tuple contraction(const AnyArray& h, const AnyArray& norms, const std::string& act, double scale) {
    const DType dtype = dtype_of(h, "h");
    const Matrix in = matrix(h, "h", dtype);
    contiguous(norms, "norms", dtype, {in.cols}, in.device);
    AnyArray value = new_array(dtype, {in.rows}, in.device), by_h = new_array(dtype, {in.rows, in.cols}, in.device);
    AnyArray by_norms = new_array(dtype, {in.cols}, in.device);
    run(Contraction{in.rows, in.cols, in.data, norms.data(), activation(act), scale, value.mutable_data(),
                    by_h.mutable_data(), by_norms.mutable_data(), dtype},
        in.device);
    return py::make_tuple(value, by_h, by_norms);
}

py::tuple take_rows(const py::object& x, const AnyArray& index, int64_t cols, const std::string& corruption,
                    double amount, uint64_t seed, uint32_t step, uint32_t stream, const py::object& clock) {
    const Corruption how = named<Corruption>(corruption,
                                             {{"none", Corruption::none},
                                              {"masking", Corruption::masking},
                                              {"salt_pepper", Corruption::salt_pepper},
                                              {"gaussian", Corruption::gaussian},
                                              {"bernoulli", Corruption::bernoulli}},
                                             "corruption");
    TakeRows p{};
    py::object owner;
    int64_t rows = 0;
    Device device;
    if (py::isinstance<py::tuple>(x)) {
        const auto t = x.cast<py::tuple>();
        check(t.size() == 3, "x: CSR is (indptr, indices, values)");
        p.dtype = dtype_of(AnyArray::of(t[2]), "x");
        const CsrArgument csr = csr_argument(t, p.dtype, cols, "x");
        p.x = {csr.values, 0, 1, csr.indptr, csr.indices, nullptr};
        rows = csr.rows;
        owner = csr.owner;
        device = csr.device;
    } else {
        const AnyArray a = AnyArray::of(x, "x");
        p.dtype = dtype_of(a, "x");
        device = a.device();
        p.x = matrix(a, "x", p.dtype, device, -1, cols).left();
        rows = a.shape(0);
        owner = a.object();
    }
    check(index.ndim() == 1, "index has shape " + shape_of(index) + "; expected one dimension");
    check(index.dtype().num() == py::dtype::num_of<int64_t>() && index.is_contiguous() && index.device() == device,
          "index is no contiguous array of int64 where x is");
    p.m = index.size();
    p.n = cols;
    p.index = static_cast<const int64_t*>(index.data());
    if (!device.is_gpu())
        for (int64_t i = 0; i < p.m; ++i) check(p.index[i] >= 0 && p.index[i] < rows, "index is out of range");
    p.corruption = how;
    p.amount = amount;
    p.draw = Draw{seed, step, stream, 0, nullptr, clock_of(clock, device)};
    AnyArray clean = new_array(p.dtype, {p.m, cols}, device), corrupted = clean;
    p.clean = clean.mutable_data();
    if (how != Corruption::none) {
        corrupted = new_array(p.dtype, {p.m, cols}, device);
        p.corrupted = corrupted.mutable_data();
    }
    {
        py::gil_scoped_release release;
        run(p, device);
    }
    return py::make_tuple(clean, corrupted);
}

// The gradient of a weight w in panels, not computed yet: products, multiples of the columns of w, and an array, which
// are added up when all uses of w have given theirs. A step of an optimiser takes the sum as it is computed
// (Step::descend), so that the gradient never reaches memory.
class WeightGradient {
  public:
    WeightGradient(AnyArray w, int64_t n)
        : w_(std::move(w)), n_(n), dtype_(dtype_of(w_, "w")), format_(dtype_), device_(w_.device()) {
        check(w_.ndim() == 3, "w has shape " + shape_of(w_) + "; expected panels");
        weights(w_, dtype_, w_.shape(1), n, device_);
    }
    const AnyArray& w() const { return w_; }
    Device device() const { return device_; }
    // What is added to the products, or null.
    const void* before() const { return before_ ? before_->data() : nullptr; }

    // `rows` and `right` hold the memory that the product reads.
    void add_product(const Product& product, DType format, py::object x, Memory rows, Memory right) {
        if (format != format_ && !products_.empty()) settle();
        format_ = format;
        products_.push_back(product);
        kept_.push_back({std::move(x), std::move(rows), std::move(right)});
    }
    void add_columns(const AnyArray& numbers) {
        contiguous(numbers, "numbers", dtype_, {n_}, device_);
        columns_ = columns_ ? *columns_ + numbers : numbers;
    }
    void add(const AnyArray& g) {
        contiguous(g, "g", dtype_, {w_.shape(0), w_.shape(1), kPanel}, device_);
        before_ = before_ ? *before_ + g : g;
    }
    // The sum, in a new array.
    AnyArray array() const {
        AnyArray out = new_array(dtype_, {w_.shape(0), w_.shape(1), kPanel}, device_);
        void* to = out.mutable_data();
        if (before_) copy_memory(device_, to, device_, before_->data(), out.nbytes());
        const DenseWeight p{w_.shape(1),       n_, products_.data(), count(), w_.data(), columns(),
                            before_ ? 1. : 0., to, dtype_,           format_};
        py::gil_scoped_release release;
        run(p, device_);
        return out;
    }
    DenseUpdate update(const Optimise& step) const {
        return {w_.shape(1), n_, products_.data(), count(), columns(), step, dtype_, format_};
    }

  private:
    int64_t count() const { return int64_t(products_.size()); }
    const void* columns() const { return columns_ ? columns_->data() : nullptr; }
    void settle() {
        before_ = array();
        columns_.reset();
        products_.clear();
        kept_.clear();
    }

    struct Kept {
        py::object x;
        Memory rows, right;
    };
    AnyArray w_;
    int64_t n_;
    DType dtype_, format_;
    Device device_;
    std::vector<Product> products_;
    std::vector<Kept> kept_;
    std::optional<AnyArray> columns_, before_;
};

// The numbers of one step of an optimiser, for any tensors.
struct Step {
    Optimise numbers{};
    bool has_m = false, has_v = false;
    std::map<int, Memory> nonfinite;  // by GPU (-1: the CPU), where tensors are: one int32_t each
    py::object kept[2];               // what numbers.live and numbers.factor point into

    Step(const std::string& rule, double rate, double beta1, double beta2, double eps, int64_t step, double scale,
         double limit, bool nesterov, py::object live, py::object factor, const py::object& flag)
        : kept{std::move(live), std::move(factor)} {
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
        if (!kept[0].is_none()) {
            const auto a = kept[0].cast<AnyArray>();
            check(a.size() == 3 && a.itemsize() == 8 && a.is_contiguous() && a.device().is_gpu(),
                  "live is no three numbers of 8 bytes on a GPU");
            o.live = static_cast<const double*>(a.data());
        }
        if (!kept[1].is_none()) {
            const auto a = kept[1].cast<AnyArray>();
            check(a.size() == 1 && a.device().is_gpu(), "factor is no number on a GPU");
            o.factor = a.data();
        }
        if (!flag.is_none()) {
            const auto& a = py::cast<const GpuArray&>(flag);
            check(a.size() == 1 && a.dtype.itemsize() == 4, "flag is no int32 on a GPU");
            nonfinite[a.device.gpu] = Memory(a.memory, a.data);
        }
    }
    Step(const Step&) = delete;

    int32_t* nonfinite_on(Device device) {
        Memory& flag = nonfinite[device.gpu];
        if (!flag) {
            flag = memory_on(device, sizeof(int32_t));
            clear_memory(device, flag.get(), sizeof(int32_t));
        }
        return static_cast<int32_t*>(flag.get());
    }
    // Waits for the GPU.
    bool finite() const {
        for (const auto& [gpu, flag] : nonfinite) {
            int32_t value = 0;
            copy_memory({}, &value, {gpu}, flag.get(), sizeof value);
            if (value) return false;
        }
        return true;
    }

    // (p, m or None, v or None, decay) and the gradient, which may be absent
    Slice slice(const py::tuple& t, const void* g, DType dtype, Device device) const {
        check(t.size() == 4, "a tensor is (p, m, v, decay)");
        const auto p = t[0].cast<AnyArray>();
        const auto ready = [&](const py::object& x, const char* name) {
            auto a = AnyArray::of(x, name);
            if (dtype_of(a, name) != dtype) throw py::type_error(std::string(name) + " has the wrong dtype");
            check(a.size() == p.size() && a.is_contiguous() && a.device() == device,
                  std::string(name) + " does not fit p");
            return a.mutable_data();
        };
        return {p.size(),
                ready(t[0], "p"),
                g,
                has_m ? ready(t[1], "m") : nullptr,
                has_v ? ready(t[2], "v") : nullptr,
                t[3].cast<double>()};
    }

    void descend(const py::tuple& tensor, const WeightGradient& g) {
        const DType dtype = dtype_of(g.w(), "w");
        const Slice s = slice(tensor, g.before(), dtype, g.device());
        check(s.p == g.w().data(), "g is the gradient of another tensor");
        Optimise o = numbers;
        o.nonfinite = nonfinite_on(g.device());
        o.slices = &s;
        o.count = 1;
        o.dtype = dtype;
        const DenseUpdate p = g.update(o);
        py::gil_scoped_release release;
        const cuda::Aside aside(g.device().gpu);  // nothing of this step needs the new weights
        run(p, g.device());
    }

    void apply(const std::vector<std::pair<py::tuple, AnyArray>>& tensors) {
        if (tensors.empty()) return;
        const Device device = tensors[0].second.device();
        if (device.is_gpu()) cuda::rejoin(device.gpu);
        Optimise o = numbers;
        o.nonfinite = nonfinite_on(device);
        o.dtype = dtype_of(tensors[0].second, "g");
        std::vector<Slice> slices;
        for (const auto& [tensor, g] : tensors) {
            const Slice s = slice(tensor, g.data(), o.dtype, device);
            check(dtype_of(g, "g") == o.dtype && g.size() == s.n && g.is_contiguous() && g.device() == device,
                  "g does not fit p");
            slices.push_back(s);
        }
        o.slices = slices.data();
        o.count = int64_t(slices.size());
        py::gil_scoped_release release;
        run(o, device);
    }
};

// Everything a dense layer passes back: gradients by x (if wanted), by w and by the bias. The one by w is begun, or
// is `into`, to which this use of w adds its product.
py::tuple dense_grad(const AnyArray& g, const AnyArray& y, const AnyArray& x, const AnyArray& w, const std::string& act,
                     bool turned, bool bf16, bool want_x, bool want_w, py::object into) {
    const DType dtype = dtype_of(x, "x"), format = format_of(bf16, dtype);
    const Matrix in = matrix(x, "x", dtype), gy = matrix(g, "g", dtype, in.device, in.rows);
    const Device device = in.device;
    const int64_t m = in.rows, k = in.cols, n = gy.cols;
    matrix(y, "y", dtype, device, m, n);
    const Activation a = activation(act);
    const void* panels_of_w = turned ? weights(w, dtype, n, k, device) : weights(w, dtype, k, n, device);
    AnyArray gx, gb = new_array(dtype, {n}, device);
    if (want_x) gx = new_array(dtype, {m, k}, device);
    if (want_w && into.is_none()) into = py::cast(WeightGradient(w, turned ? k : n));
    WeightGradient* gw = want_w ? &into.cast<WeightGradient&>() : nullptr;
    check(!gw || gw->w().is(w), "into is the gradient of another w");
    void* to_x = want_x ? gx.mutable_data() : nullptr;
    void* to_b = gb.mutable_data();
    const bool plain = a == Activation::identity;
    const Memory rows = plain ? nullptr : memory(dtype, m * n, device);
    const Memory right = want_w ? memory(format, panel_elements(format, m, turned ? k : n), device) : nullptr;
    const void* z = plain ? gy.data : rows.get();
    {
        py::gil_scoped_release release;
        run(Gate{m, n, gy.data, plain ? nullptr : y.data(), a, rows.get(), turned ? nullptr : right.get(), to_b, dtype,
                 format},
            device);
        if (want_x)
            run(Dense{m, k, n, Left{z, n, 1}, panels_of_w, !turned, nullptr, Activation::identity, to_x, dtype, format},
                device);
        if (want_w && turned) run(PackPanels{m, k, in.data, k, 1, right.get(), dtype, format}, device);
    }
    if (gw)
        gw->add_product({m, turned ? Left{z, 1, n} : in.transposed(), right.get()}, format, (turned ? g : x).object(),
                        rows, right);
    return py::make_tuple(want_x ? gx.object() : py::none(), want_w ? into : py::none(), gb);
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
          "clock"_a = py::none(), "Reparameterised codes, their noise, and the divergence of every dimension.");
    m.def("latent_grad", &latent_grad, "head"_a, "eps"_a, "gz"_a = py::none(), "gkl"_a = py::none(),
          "The gradient of `latent` by head.");
    m.def("dropout", &dropout, "x"_a, "rate"_a, "seed"_a = 0, "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "clock"_a = py::none(), "x with entries left out at random, the others divided by 1 - rate.");
    m.def("take_rows", &take_rows, "x"_a, "index"_a, "cols"_a, "corruption"_a = "none", "amount"_a = 0.0, "seed"_a = 0,
          "step"_a = 0, "stream"_a = 0, "clock"_a = py::none(), "Rows of x, and the same rows corrupted.");
    py::class_<WeightGradient>(m, "WeightGradient",
                               "The gradient of a weight in panels, a sum that is not computed yet.")
        .def(py::init<AnyArray, int64_t>(), "w"_a, "n"_a)
        .def("add", &WeightGradient::add, "g"_a, "Adds an array of panels.")
        .def("add_columns", &WeightGradient::add_columns, "numbers"_a, "Adds the columns of w times these numbers.")
        .def("array", &WeightGradient::array, "The sum, in a new array.");
    py::class_<Step>(m, "Step", "One step of gradient descent on any number of tensors (p, m, v, decay), in place.")
        .def(py::init<const std::string&, double, double, double, double, int64_t, double, double, bool, py::object,
                      py::object, const py::object&>(),
             "rule"_a, "rate"_a, "beta1"_a = 0.9, "beta2"_a = 0.999, "eps"_a = 1e-8, "step"_a = 1, "scale"_a = 1.0,
             "limit"_a = 0.0, "nesterov"_a = false, "live"_a = py::none(), "factor"_a = py::none(),
             "flag"_a = py::none(),
             "live: {rate, rate / c1, 1 / c2} in memory instead; factor: multiplies scale; flag: set where a value is "
             "not finite, not cleared. All on the GPU.")
        .def("apply", &Step::apply, "tensors"_a, "Steps tensors, given as pairs of tensor and gradient.")
        .def("descend", &Step::descend, "tensor"_a, "g"_a, "Steps a weight along a sum while it is computed.")
        .def_property_readonly("finite", &Step::finite, "False once a stepped value was Inf or NaN.");
    m.def("column_norms", &column_norms, "w"_a, "n"_a, "Squared norms of the columns of a matrix in panels.");
    m.def("contraction", &contraction, "h"_a, "norms"_a, "activation"_a, "scale"_a = 1.0,
          "Squared Frobenius norm of a layer's Jacobian for every row, and its gradients by h and norms.");
    m.def("trim_memory", &trim_memory, "Hands memory kept for reuse back to the system.");
}

}  // namespace unsupfast::bind
