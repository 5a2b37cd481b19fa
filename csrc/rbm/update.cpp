#include "rbm/update.h"

#include "kernels/contrast/op.h"

namespace unsupfast {

Gradient::Gradient(const Rbm& r, const TrainOptions& o) {
    const auto array = [&](int64_t n) { return Array(r.dtype, n, r.device); };
    dv = array(r.visibles);
    dh = array(r.hiddens);
    row_scale = array(r.visibles);
    offset_shift = array(r.visibles);
    rank_right = array(r.hiddens);
    if (r.visible.has(Unit::gaussian) && o.learn_sigma) {
        dz = array(r.visibles);
        row_dot = array(r.visibles);
    }
    if (o.centering) turned_step = array(panel_elements(r.dtype, r.hiddens, r.visibles));
}

void Gradient::finish(Rbm& r, const TrainOptions& o, const void* hidden_mean, double total, bool first) const {
    ContrastGradient g{};
    g.visibles = r.visibles;
    g.hiddens = r.hiddens;
    g.dv = dv.data();
    g.dh = dh.data();
    g.precision = r.visible.has(Unit::gaussian) ? r.precision_.data() : nullptr;
    g.hidden_mean = hidden_mean;
    g.visible_offset = r.visible_offset.data();
    g.hidden_offset = r.hidden_offset.data();
    g.row_scale = row_scale.data();
    g.offset_shift = offset_shift.data();
    g.rank_right = rank_right.data();
    g.total = total;
    g.decay = first ? 0 : kActivityDecay;
    g.target = o.sparsity_target;
    g.cost = o.sparsity_cost;
    g.centred = o.centering;
    g.dtype = r.dtype;
    run(g, r.device);
}

WeightUpdate Gradient::on_weights(const Rbm& r, const TrainOptions& o, int64_t rows, const Left& visible,
                                  const void* hidden, const void* contrast) const {
    WeightUpdate u{};
    u.visibles = r.visibles;
    u.hiddens = r.hiddens;
    u.rows = rows;
    u.visible = visible;
    u.hidden = hidden;
    u.contrast = contrast;
    u.weights = r.weights_.data();
    u.velocity = o.momentum != 0 || o.centering ? r.velocity.data() : nullptr;
    u.row_scale = row_scale.data();
    if (o.needs_means()) {
        u.left[0] = offset_shift.data();
        u.right[0] = rank_right.data();
    }
    if (o.centering) {
        u.left[1] = dv.data();
        u.right[1] = r.hidden_offset.data();
    }
    u.row_dot = row_dot.data();
    u.rate = o.learning_rate;
    u.momentum = o.momentum;
    u.l2 = o.l2;
    u.l1 = o.l1;
    u.dtype = r.dtype;
    u.format = r.rounds(visible) ? r.format : r.dtype;
    return u;
}

void Gradient::add_variances(const Rbm& r, int64_t rows, const void* values, const void* contrast) {
    if (!dz) return;
    dz.zero();
    for (const Segment& s : r.visible.segments)
        if (s.unit == Unit::gaussian)
            run(VarianceGradient{rows, r.visibles, s.begin, s.end, values, r.visible_bias_.data(), contrast,
                                 row_scale.data(), row_dot.data(), dz.data(), r.dtype},
                r.device);
}

}  // namespace unsupfast
