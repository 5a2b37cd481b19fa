// Plain loops: the meaning of the family. They are what the CPU runs of ClassShares, which is nothing next to the rest.
#include "kernels/gemm/ref.h"
#include "kernels/classes/parts.h"

namespace unsupfast {
namespace {

template <class T>
void scores(const ClassScores& p) {
    const T *field = static_cast<const T*>(p.field), *bias = static_cast<const T*>(p.bias);
    for (int64_t i = 0; i < p.rows; ++i)
        for (int64_t c = 0; c < p.classes; ++c) {
            T sum = bias[c];
            for (int64_t j = 0; j < p.hiddens; ++j)
                sum += softplus(field[i * p.hiddens + j] + class_weight<T>(p.u, c, j));
            static_cast<T*>(p.scores)[i * p.classes + c] = sum;
        }
}

template <class T>
void shares(const ClassShares& p) {
    for (int64_t i = 0; i < p.rows; ++i) class_shares<T>(p, i);
}

template <class T>
void activity(const ClassActivity& p) {
    const T *field = static_cast<const T*>(p.field), *share = static_cast<const T*>(p.share);
    T *activity = static_cast<T*>(p.activity), *by_class = static_cast<T*>(p.by_class);
    for (int64_t e = 0; by_class && e < p.classes * p.hiddens; ++e) by_class[e] = 0;
    for (int64_t i = 0; i < p.rows; ++i)
        for (int64_t j = 0; j < p.hiddens; ++j) {
            T sum(0);
            for (int64_t c = 0; c < p.classes; ++c) {
                const T part =
                    share[i * p.classes + c] * sigmoid(field[i * p.hiddens + j] + class_weight<T>(p.u, c, j));
                sum += part;
                if (by_class) by_class[c * p.hiddens + j] += part;
            }
            if (activity) activity[i * p.hiddens + j] = sum;
            if (p.chosen)
                static_cast<T*>(p.chosen)[i * p.hiddens + j] =
                    field[i * p.hiddens + j] + class_weight<T>(p.u, p.choice[i], j);
        }
}

}  // namespace

USF_REF_BY_DTYPE(ClassScores, scores)
USF_REF_BY_DTYPE(ClassShares, shares)
USF_REF_BY_DTYPE(ClassActivity, activity)

}  // namespace unsupfast
