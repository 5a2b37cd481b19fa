// How a gradient becomes a step: momentum, Adam, and the guards around them.
#pragma once
#include <algorithm>
#include <cmath>

#include "kernels/optim/op.h"
#include "rbm/rbm.h"

namespace unsupfast {

// velocity = momentum velocity + rate gradient; parameter += velocity
template <class T>
void momentum_step(T* parameter, T* velocity, const T* gradient, int64_t n, double rate, double momentum) {
    for (int64_t i = 0; i < n; ++i) {
        velocity[i] = T(momentum) * velocity[i] + T(rate) * gradient[i];
        parameter[i] += velocity[i];
    }
}

// Kingma and Ba, ICLR 2015: up the gradient. `first` holds the first moment.
template <class T>
void adam_step(T* parameter, T* first, T* second, const T* gradient, int64_t n, const TrainOptions& o, double c1,
               double c2, double factor) {
    int32_t nonfinite = 0;
    const Slice slice{n, parameter, gradient, first, second, 0};
    run(Optimise{&slice, 1, Rule::adam, false, -o.learning_rate, o.momentum, o.second_decay, o.eps, c1, c2, factor, 0,
                 &nonfinite, sizeof(T) == 8 ? DType::f64 : DType::f32});
}

template <class T>
double squared_norm(const T* x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += double(x[i]) * double(x[i]);
    return sum;
}

// Scales the weights of hidden units whose norm is larger than `most` down to it.
template <class T>
void limit_norms(T* weights, int64_t visibles, int64_t hiddens, double most) {
    for (int64_t p = 0; p < panels(hiddens); ++p) {
        T* panel = weights + p * visibles * kPanel;
        double sums[kPanel] = {};
        for (int64_t i = 0; i < visibles; ++i)
            for (int64_t c = 0; c < kPanel; ++c) sums[c] += double(panel[i * kPanel + c]) * panel[i * kPanel + c];
        T factor[kPanel];
        bool any = false;
        for (int64_t c = 0; c < kPanel; ++c) {
            const double norm = std::sqrt(sums[c]);
            factor[c] = T(norm > most ? most / norm : 1);
            any = any || norm > most;
        }
        for (int64_t i = 0; any && i < visibles; ++i)
            for (int64_t c = 0; c < kPanel; ++c) panel[i * kPanel + c] *= factor[c];
    }
}

}  // namespace unsupfast
