// Units of chains that keep their values.
#pragma once
#include "rbm/rbm.h"
#include "rbm/step.h"

namespace unsupfast {

// Entries that keep the value they have at first. `values` is on the machine's device, the mask on the CPU.
class Clamp {
  public:
    Clamp(const Rbm& r, const uint8_t* mask, int64_t n, const void* values) : n_(n) {
        if (!mask) return;
        mask_ = words(n / 4 + 1, r.device);
        copy_memory(r.device, mask_.data(), {}, mask, size_t(n));
        kept_ = Array(r.dtype, n, r.device);
        copy_memory(r.device, kept_.data(), r.device, values, kept_.bytes());
    }
    void hold(void* values) const {
        if (!mask_ || !values) return;
        Elementwise p{};
        p.f = Elementary::where;
        p.extent[0] = p.extent[1] = p.extent[2] = 1;
        p.extent[3] = n_;
        p.condition = mask_.as<uint8_t>();
        p.a = kept_.data();
        p.b = p.y = values;
        p.condition_stride[3] = p.a_stride[3] = p.b_stride[3] = 1;
        p.dtype = kept_.dtype();
        run(p, kept_.device());
    }

  private:
    int64_t n_;
    Array mask_, kept_;  // the mask as bytes
};

}  // namespace unsupfast
