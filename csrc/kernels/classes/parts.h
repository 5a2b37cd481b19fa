// Scalar pieces, for the plain loops and for the GPU's threads alike.
#pragma once
#include "elementary.h"
#include "kernels/classes/op.h"

namespace unsupfast {

template <class T>
USF_HD T class_weight(const ClassWeights& u, int64_t c, int64_t j) {
    return static_cast<const T*>(u.data)[j / kPanel * u.panel_stride + c * u.class_stride + j % kPanel];
}

// Row i of ClassShares.
template <class T>
USF_HD void class_shares(const ClassShares& p, int64_t i) {
    const T* scores = p.scores ? static_cast<const T*>(p.scores) + i * p.classes : nullptr;
    const int64_t label = p.label[i];
    const T generative = static_cast<const T*>(p.generative)[i];
    const T discriminative = label < 0 ? T(0) : static_cast<const T*>(p.discriminative)[i];
    T top(0), sum(0);
    if (scores) {
        top = scores[0];
        for (int64_t c = 1; c < p.classes; ++c) top = scores[c] > top ? scores[c] : top;
        for (int64_t c = 0; c < p.classes; ++c) sum += T(exp(scores[c] - top));
    }
    T* share = static_cast<T*>(p.share) + i * p.classes;
    T passed(0);
    const T u = T(philox_uniform(p.draw.seed, 0, p.draw.first_row + uint32_t(i), step_of(p.draw), p.draw.stream));
    int64_t drawn = 0;
    for (int64_t c = 0; c < p.classes; ++c) {
        const T prior = scores ? T(exp(scores[c] - top)) / sum : T(0);
        const T known = label < 0 ? prior : T(c == label);
        share[c] = (generative + discriminative) * known - discriminative * prior;
        passed += prior;
        if (u >= passed && drawn == c && c + 1 < p.classes) ++drawn;
    }
    if (p.choice) p.choice[i] = label < 0 ? drawn : label;
}

}  // namespace unsupfast
