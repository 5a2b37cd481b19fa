// mbarrier (PTX ISA, "mbarrier"): 64 bits of shared memory that count who arrived and which bytes came.
#pragma once
#include "cuda/emulated/machine.h"

namespace unsupfast::emulated {

class Barrier {
  public:
    static Barrier* at(uint32_t address) { return static_cast<Barrier*>(at_address(address, 8, 8)); }

    USF_UNSEEN void init(int arrivals) {
        if (arrivals < 1 || arrivals >= 0xffff) fail("mbarrier.init: of " + std::to_string(arrivals) + " arrivals");
        set(0, uint32_t(arrivals), uint32_t(arrivals), 0);
    }
    USF_UNSEEN void arrive(uint32_t expected_bytes) { change(1, int32_t(expected_bytes)); }
    USF_UNSEEN void complete(uint32_t bytes) { change(0, -int32_t(bytes)); }
    // until the phase of this parity is over
    USF_UNSEEN void wait(uint32_t parity) {
        constexpr uint64_t kPhase = uint64_t(1) << 63;
        const uint64_t during = parity ? kPhase : 0;
        while ((word_ & kPhase) == during) wait_while(&word_, kPhase, during, "mbarrier");
        acquire(this);
    }

  private:
    // phase: bit 63; bytes still to come, biased: 32 to 62; arrivals a phase: 16 to 31; those still to come: 0 to 15
    static constexpr int64_t kBias = 1 << 30;

    USF_UNSEEN void set(uint64_t phase, uint64_t each, uint64_t pending, int64_t bytes) {
        word_ = phase << 63 | uint64_t(bytes + kBias) << 32 | each << 16 | pending;
    }
    USF_UNSEEN void change(uint64_t arrivals, int32_t bytes) {
        release(this);
        const uint64_t phase = word_ >> 63, each = word_ >> 16 & 0xffff, pending = word_ & 0xffff;
        if (each == 0 || each == 0xffff) fail("an mbarrier is used that was not initialised");
        if (pending < arrivals) fail("more threads arrive at an mbarrier than it was made for");
        const int64_t left = int64_t(word_ >> 32 & 0x7fffffff) - kBias + bytes;
        if (pending == arrivals && left == 0)
            set(phase ^ 1, each, each, 0);
        else
            set(phase, each, pending - arrivals, left);
    }

    uint64_t word_;
};

}  // namespace unsupfast::emulated
