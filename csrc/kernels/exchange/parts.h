// What the plain loop and the GPU's warps share.
#pragma once
#include <cmath>

#include "kernels/exchange/op.h"
#include "philox.h"

namespace unsupfast {

USF_HD bool exchange_accepted(const ExchangeStates& p, int64_t t, int64_t c) {
    const double* ratio = p.log_ratio + t * p.chains + c;
    const double u = philox_uniform(p.draw.seed, uint32_t(t), uint32_t(c), step_of(p.draw), p.draw.stream);
    return u < exp(ratio[0] - ratio[p.chains]);
}

// Words first, first + step, .. of rows i and j
USF_HD void trade_rows(const ExchangeStates& p, int64_t i, int64_t j, int64_t first, int64_t step) {
    for (int which = 0; which < 2; ++which) {
        const int64_t n = p.rows[which] ? p.words[which] : 0;
        for (int64_t w = first; w < n; w += step) {
            uint32_t &a = p.rows[which][i * n + w], &b = p.rows[which][j * n + w];
            const uint32_t kept = a;
            a = b;
            b = kept;
        }
    }
}

}  // namespace unsupfast
