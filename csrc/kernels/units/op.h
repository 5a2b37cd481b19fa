// What a layer does with the fields it is given, for every kind of unit.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// One layer's units, all of one kind, in m rows: field x = scale * field_ij + bias_weight_i * bias_j.
// With the weight w(y) of a state y, a unit's states have probability w(y) exp(x y) / exp(A(x)):
//   bernoulli    y in {0, 1}          w = 1
//   spin         y in {-1, 1}         w = 1
//   gaussian     y real               w = exp(-y^2 / 2); samples x + sigma z
//   relu         y >= 0               w = exp(-y^2 / 2)
//   drelu        y real               w = exp(-y^2 / (2 (1 + r s)) - d |y|), s = sign(y): gap d, asymmetry r
//   softmax      one of `group` on    w = 1; neighbours form a group
//   multinomial  counts of n kinds that sum to totals_i (replicated softmax); w = 1 for every sequence
// mean = A'(x), log_partition_i += sum_j A(x_ij) - A(ratio x_ij) (second term only if ratio >= 0).
// Any output may be null.
struct Conditional {
    int64_t m, n;
    Unit unit;
    int64_t group;
    const void* field;  // m rows
    int64_t field_stride;
    const void* bias;         // n
    const void* bias_weight;  // m, or null: 1
    const void* totals;       // m, multinomial only, or null: 1
    const void* shape[2];     // gaussian: sigma (null: 1); drelu: gap and asymmetry
    double scale, ratio;
    void *mean, *sample;  // m rows
    int64_t out_stride;
    void* log_partition;  // m
    Draw draw;
    uint32_t first_unit;  // names the random numbers of unit 0
    DType dtype;
};

}  // namespace unsupfast
