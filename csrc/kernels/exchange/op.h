// Exchanges of states between Markov chains at neighbouring temperatures.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// Rows are states, in `levels` blocks of `chains`, a temperature each. Chain c of block t and chain c of block t + 1
// trade places where
//   u < exp(log_ratio[t chains + c] - log_ratio[(t + 1) chains + c]),   u the uniform of unit t, row c
// for t = first, first + 2, .. (first is 0 or 1). log_ratio of a row of either block: what its state weighs at the
// temperature of t + 1, over what it weighs at that of t.
struct ExchangeStates {
    int64_t levels, chains, first;
    const double* log_ratio;
    uint32_t* rows[2];  // what trades places, or null: rows of words[i] 32-bit words
    int64_t words[2];
    int64_t* tally;  // of each t: exchanges made, then tried; added to
    Draw draw;
};

}  // namespace unsupfast
