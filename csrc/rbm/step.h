// Passes over whole arrays that an update's guards and optimisers need, on any device.
#pragma once
#include <cmath>

#include "array.h"
#include "kernels/elementwise/op.h"
#include "kernels/penalty/op.h"
#include "kernels/reduce/op.h"
#include "registry.h"

namespace unsupfast {

inline constexpr double kActivityDecay = 0.99;  // of the sliding mean of hidden activities
inline constexpr int64_t kLook = 64;            // mini-batches on a GPU between two looks at what it says

// y[0, n) = f of neighbours a and b; where b is null, of a and `number`. y may be a.
inline void each(Elementary f, int64_t n, const void* a, const void* b, double number, void* y, DType dtype,
                 Device device) {
    Elementwise p{};
    p.f = f;
    for (int64_t& e : p.extent) e = 1;
    p.extent[kRank - 1] = n;
    p.a = a;
    p.b = b;
    p.a_stride[kRank - 1] = 1;
    p.b_stride[kRank - 1] = b ? 1 : 0;
    p.number = number;
    p.y = y;
    p.dtype = dtype;
    run(p, device);
}
inline void each(Elementary f, int64_t n, const Array& a, const void* b, double number, void* y) {
    each(f, n, a.data(), b, number, y, a.dtype(), a.device());
}

inline double squared_norm(const Array& x) {
    const Array squares(x.dtype(), x.size(), x.device()), sum(x.dtype(), 1, x.device()), on_cpu(x.dtype(), 1);
    each(Elementary::square, x.size(), x, nullptr, 0, squares.data());
    run(Reduce{Reduction::sum, 1, x.size(), 1, squares.data(), 1, sum.data(), x.dtype()}, x.device());
    copy_memory({}, on_cpu.data(), x.device(), sum.data(), sum.bytes());
    return x.dtype() == DType::f64 ? on_cpu.as<double>()[0] : double(on_cpu.as<float>()[0]);
}

// Scales the weights (panels) of hidden units whose norm is larger than `most` down to it.
inline void limit_norms(const Array& weights, int64_t visibles, int64_t hiddens, double most) {
    const int64_t width = panels(hiddens) * kPanel;
    const Array factor(weights.dtype(), width, weights.device()), limit(weights.dtype(), width, weights.device());
    run(ColumnNorms{visibles, hiddens, weights.data(), factor.data(), weights.dtype()}, weights.device());
    each(Elementary::sqrt, width, factor, nullptr, 0, factor.data());
    each(Elementary::add, width, limit, nullptr, most, limit.data());
    each(Elementary::div, width, limit, factor.data(), 0, factor.data());  // most / 0 is infinite: no limit
    each(Elementary::minimum, width, factor, nullptr, 1, factor.data());
    Elementwise p{};
    p.f = Elementary::mul;
    p.extent[0] = 1;
    p.extent[1] = panels(hiddens);
    p.extent[2] = visibles;
    p.extent[3] = kPanel;
    p.a = p.y = weights.data();
    p.b = factor.data();
    p.a_stride[1] = visibles * kPanel;
    p.a_stride[2] = kPanel;
    p.b_stride[1] = kPanel;
    p.a_stride[3] = p.b_stride[3] = 1;
    p.dtype = weights.dtype();
    run(p, weights.device());
}

}  // namespace unsupfast
