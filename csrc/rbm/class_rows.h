// The data rows of a classification RBM, whose visible layer ends in a softmax group of labels that the rows leave at
// 0. Classes are summed over exactly: the activities of a row are those of every class, weighed by its share, and meet
// the row without its label; the labels' part of the gradient comes from a row for every class, after those of the
// data, with its unit on and the activities that it had in all rows.
#pragma once
#include <vector>

#include "kernels/classes/op.h"
#include "rbm/minibatch.h"
#include "rbm/update.h"

namespace unsupfast {

template <class T>
class ClassRows {
  public:
    // weight and label: as of Rbm::train. max_rows: of a mini-batch, those of the classes and of the model among them.
    ClassRows(Rbm& r, const TrainOptions& o, const T* weight, const int64_t* label, int64_t max_batch, int64_t max_rows)
        : classes(r.visible.segments.back().group),
          visible_contrast(r.dtype, max_rows, r.device),
          r_(r),
          o_(o),
          weight_(weight),
          label_(label),
          fields_(r.dtype, max_batch * r.hiddens, r.device),
          scores_(r.dtype, max_batch * classes, r.device),
          shares_(r.dtype, max_batch * classes, r.device),
          generative_(r.dtype, max_batch, r.device),
          discriminative_(r.dtype, max_batch, r.device),
          labels_(DType::f64, max_batch, r.device),
          choice_(DType::f64, max_batch, r.device),
          drawn_(r.dtype, o.persistent ? 0 : max_batch * r.hiddens, r.device) {}

    const int64_t classes;
    const Array visible_contrast;  // of rows in what has to do with visible units alone

    // What rows weigh, B of the data at `order` and C of the model; these are none (C becomes 0) where log p(rest) has
    // no part in the gradient. Activities hold that already; a row of a class is no row of the hidden biases'. False if
    // all weigh nothing.
    bool weigh(const int64_t* order, int64_t B, int64_t& C, RowWeights& weights, const Array& hidden_contrast) {
        const int64_t M = B + classes;
        std::vector<T> by_generative(static_cast<size_t>(M + C)), by_discriminative(static_cast<size_t>(B), T(0));
        std::vector<int64_t> known(static_cast<size_t>(B), -1);
        T modelled = 0;
        T total = 0;
        scored_ = false;
        for (int64_t b = 0; b < B; ++b) {
            const T w = weight_ ? weight_[order[b]] : T(1);
            const bool labelled = (known[size_t(b)] = label_[order[b]]) >= 0;
            total += w;
            modelled += by_generative[size_t(b)] = w * T(labelled ? o_.generative : o_.unlabelled);
            by_discriminative[size_t(b)] = labelled ? w * T(o_.discriminative) : T(0);
            scored_ = scored_ || !labelled || o_.discriminative != 0;
        }
        if (!(total > 0)) return false;
        weights.total = double(total);
        if (!(modelled > 0)) C = 0;
        std::vector<T> w(static_cast<size_t>(M + C), T(1));
        for (int64_t c = 0; c < C; ++c)
            by_generative[size_t(M + c)] = w[size_t(M + c)] =
                o_.persistent ? -modelled / T(C) : -by_generative[size_t(c)];
        const auto send = [&](const Array& to, const auto& from, int64_t n) {
            copy_memory(r_.device, to.data(), {}, from.data(), size_t(n) * sizeof from[0]);
        };
        send(weights.contrast, w, M + C);
        std::fill_n(w.begin() + B, classes, T(0));
        send(hidden_contrast, w, M + C);
        send(visible_contrast, by_generative, M + C);
        send(generative_, by_generative, B);
        send(discriminative_, by_discriminative, B);
        send(labels_, known, B);
        return true;
    }

    // Adds the classes' rows to the batch, and fills in the activities of both. chains: where chains start from states
    // drawn here; or null.
    void fill(Minibatch<T>& batch, int64_t B, const void* totals, const Draw& of_labels, const Draw& of_hiddens,
              T* activities, States* chains) {
        const int64_t H = r_.hiddens, K = classes, first = r_.visibles - K;
        const ClassWeights u{r_.weights_.template as<T>() + first * kPanel, r_.visibles * kPanel, kPanel};
        r_.hidden_fields(batch.data(), B, fields_.data(), totals);
        if (scored_)
            run(ClassScores{B, H, K, fields_.data(), u, r_.visible_bias_.template as<T>() + first, scores_.data(),
                            r_.dtype});
        run(ClassShares{B, K, scored_ ? scores_.data() : nullptr, labels_.as<int64_t>(), generative_.data(),
                        discriminative_.data(), shares_.data(), chains ? choice_.as<int64_t>() : nullptr, of_labels,
                        r_.dtype});
        run(ClassActivity{B, H, K, fields_.data(), u, shares_.data(), choice_.as<int64_t>(), activities,
                          activities + B * H, chains ? drawn_.data() : nullptr, r_.dtype});
        batch.add_units(first, K);
        if (!chains) return;
        HalfStep p{};
        p.m = B;
        p.n = H;
        p.bias = r_.no_bias_.data();
        p.scale = 1;
        p.ratio = -1;
        p.draw = of_hiddens;
        r_.by_segments(r_.hidden, p, drawn_.data(), chains->samples(), nullptr, nullptr, r_.hidden_shape);
    }

    // What the labels' biases are told by the data's rows.
    void add_shares(int64_t B, const Array& dv) {
        run(ColumnSum{B, classes, Left{shares_.data(), classes, 1}, nullptr, 1, dv.as<T>() + (r_.visibles - classes),
                      r_.dtype});
    }

  private:
    template <class P>
    void run(const P& p) {
        unsupfast::run(p, r_.device);
    }

    Rbm& r_;
    const TrainOptions& o_;
    const T* weight_;
    const int64_t* label_;
    const Array fields_, scores_, shares_;                       // a row a row of the batch
    const Array generative_, discriminative_, labels_, choice_;  // a number each
    const Array drawn_;
    bool scored_ = false;  // whether a row of the batch needs scores
};

}  // namespace unsupfast
