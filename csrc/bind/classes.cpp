// Classes of a classification RBM.
#include "kernels/classes/op.h"

#include "bind/common.h"
#include "registry.h"

namespace unsupfast::bind {
namespace {

// Weights of labels as rows of a matrix.
ClassWeights class_weights(const AnyArray& weights, DType dtype, int64_t hiddens, Device device) {
    contiguous(weights, "weights", dtype, {-1, hiddens}, device);
    check(weights.shape(0) > 0, "weights has no class");
    return {weights.data(), kPanel, hiddens};
}

// A class from `lowest` to classes - 1 for every row; on a GPU it is taken on trust.
const int64_t* classes_of_rows(const AnyArray& a, const char* name, int64_t rows, int64_t classes, int64_t lowest,
                               Device device) {
    check(a.ndim() == 1 && a.size() == rows && a.dtype().num() == py::dtype::num_of<int64_t>() && a.is_contiguous() &&
              a.device() == device,
          std::string(name) + " is no contiguous array of an int64 a row");
    const int64_t* x = static_cast<const int64_t*>(a.data());
    for (int64_t i = 0; !device.is_gpu() && i < rows; ++i)
        check(x[i] >= lowest && x[i] < classes, std::string(name) + " has a class out of range");
    return x;
}

AnyArray class_scores(const AnyArray& field, const AnyArray& weights, const AnyArray& bias) {
    const DType dtype = dtype_of(field, "field");
    const Device device = field.device();
    contiguous(field, "field", dtype, {-1, -1}, device);
    const int64_t rows = field.shape(0), hiddens = field.shape(1);
    const ClassWeights u = class_weights(weights, dtype, hiddens, device);
    const int64_t classes = weights.shape(0);
    AnyArray scores = new_array(dtype, {rows, classes}, device);
    const void* d = contiguous(bias, "bias", dtype, {classes}, device).data();
    run(ClassScores{rows, hiddens, classes, field.data(), u, d, scores.mutable_data(), dtype}, device);
    return scores;
}

py::tuple class_shares(const AnyArray& scores, const AnyArray& label, const AnyArray& generative,
                       const AnyArray& discriminative, uint64_t seed, uint32_t step, uint32_t stream,
                       uint32_t first_row) {
    const DType dtype = dtype_of(scores, "scores");
    const Device device = scores.device();
    contiguous(scores, "scores", dtype, {-1, -1}, device);
    const int64_t rows = scores.shape(0), classes = scores.shape(1);
    check(classes > 0, "scores has no class");
    AnyArray share = new_array(dtype, {rows, classes}, device),
             choice = AnyArray(py::dtype::of<int64_t>(), {rows}, device);
    run(ClassShares{rows, classes, scores.data(), classes_of_rows(label, "label", rows, classes, -1, device),
                    contiguous(generative, "generative", dtype, {rows}, device).data(),
                    contiguous(discriminative, "discriminative", dtype, {rows}, device).data(), share.mutable_data(),
                    static_cast<int64_t*>(choice.mutable_data()), Draw{seed, step, stream, first_row}, dtype},
        device);
    return py::make_tuple(share, choice);
}

py::tuple class_activity(const AnyArray& field, const AnyArray& weights, const AnyArray& share,
                         const py::object& choice) {
    const DType dtype = dtype_of(field, "field");
    const Device device = field.device();
    contiguous(field, "field", dtype, {-1, -1}, device);
    const int64_t rows = field.shape(0), hiddens = field.shape(1);
    ClassActivity p{};
    p.rows = rows;
    p.hiddens = hiddens;
    p.u = class_weights(weights, dtype, hiddens, device);
    p.classes = weights.shape(0);
    p.field = field.data();
    p.share = contiguous(share, "share", dtype, {rows, p.classes}, device).data();
    AnyArray activity = new_array(dtype, {rows, hiddens}, device),
             by_class = new_array(dtype, {p.classes, hiddens}, device);
    p.activity = activity.mutable_data();
    p.by_class = by_class.mutable_data();
    p.dtype = dtype;
    if (choice.is_none()) {
        run(p, device);
        return py::make_tuple(activity, by_class);
    }
    AnyArray chosen = new_array(dtype, {rows, hiddens}, device);
    p.choice = classes_of_rows(AnyArray::of(choice, "choice"), "choice", rows, p.classes, 0, device);
    p.chosen = chosen.mutable_data();
    run(p, device);
    return py::make_tuple(activity, by_class, chosen);
}

}  // namespace

void bind_classes(py::module_& m) {
    using namespace py::literals;
    m.def("class_scores", &class_scores, "field"_a, "weights"_a, "bias"_a,
          "bias[c] + sum_j softplus(field[i, j] + weights[c, j]) of every row and class.");
    m.def("class_shares", &class_shares, "scores"_a, "label"_a, "generative"_a, "discriminative"_a, "seed"_a = 0,
          "step"_a = 0, "stream"_a = 0, "first_row"_a = 0,
          "(what classes count for in the gradient, labels or a draw of one where it is -1) of every row.");
    m.def("class_activity", &class_activity, "field"_a, "weights"_a, "share"_a, "choice"_a = py::none(),
          "Sums over classes and over rows of shares times hidden activities, and the total inputs with the classes "
          "chosen.");
}

}  // namespace unsupfast::bind
