// The path from independent visible units to a machine, along which annealing and tempering go: at inverse temperature
// b hidden fields are b (W'v + b_h), visible ones b (W h + a) + (1 - b) a_0. Gaussian visibles keep mean and variance.
#pragma once
#include "kernels/contrast/op.h"
#include "rbm/rbm.h"
#include "rbm/step.h"

namespace unsupfast {

class Path {
  public:
    // base_bias: a_0, values in the machine's dtype on the CPU
    Path(const Rbm& r, const void* base_bias)
        : r_(r), base_(r.dtype, r.visibles, r.device), shift_(r.dtype, r.visibles, r.device) {
        r.upload(base_, base_bias);
        follow();
    }
    // What comes of the machine's present biases.
    void follow() {
        for (const Segment& s : r_.visible.segments)
            if (s.unit == Unit::gaussian) {
                const int64_t at = s.begin * element_size(r_.dtype);
                copy_memory(r_.device, base_.as<char>() + at, r_.device, r_.visible_bias_.as<char>() + at,
                            size_t(s.size() * element_size(r_.dtype)));
            }
        each(Elementary::sub, r_.visibles, r_.visible_bias_, base_.data(), 0, shift_.data());
    }
    const Array& base() const { return base_; }
    // log_weight += sign log_z + (to - from) v . (a - a_0)
    void weigh(const Left& v, int64_t count, double from, double to, double sign, const void* log_z,
               double* log_weight) const {
        run(WeighAnnealed{count, r_.visibles, v, log_z, shift_.data(), sign, r_.visible.gaussian() ? 0 : to - from,
                          log_weight, r_.dtype},
            r_.device);
    }

  private:
    const Rbm& r_;
    Array base_, shift_;
};

}  // namespace unsupfast
