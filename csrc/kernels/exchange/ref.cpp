// The plain loop; it is little beside the products.
#include "kernels/exchange/parts.h"

namespace unsupfast {

USF_KERNEL(ref, ExchangeStates) {
    (void)launch;
    for (int64_t t = p.first; t + 1 < p.levels; t += 2)
        for (int64_t c = 0; c < p.chains; ++c) {
            const bool accepted = exchange_accepted(p, t, c);
            if (accepted) trade_rows(p, t * p.chains + c, (t + 1) * p.chains + c, 0, 1);
            p.tally[2 * t] += accepted;
            p.tally[2 * t + 1] += 1;
        }
}

}  // namespace unsupfast
