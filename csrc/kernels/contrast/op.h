// What a contrastive update does beside its products: vectors of a number a unit, and sums over rows.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// Between the column sums of an update and its weights. dv and dh come in as sums over all rows (data minus model) and
// go out as gradients by the biases:
//   row_scale = precision / total,   dv = row_scale dv,   dh = dh / total
// and where hidden_mean, the mean of the data rows' activities, is not null
//   hidden_offset = decay hidden_offset + (1 - decay) hidden_mean
//   push = cost (target - hidden_offset)      (0 with a negative target)
//   dh = dh + push,   rank_right = (dh before the push, if centred, else 0) - push
//   offset_shift = precision visible_offset
// which make WeightUpdate's terms of rank one. precision may be null: 1.
struct ContrastGradient {
    int64_t visibles, hiddens;
    void *dv, *dh;
    const void *precision, *hidden_mean, *visible_offset;
    void *hidden_offset, *row_scale, *offset_shift, *rank_right;
    double total, decay, target, cost;
    bool centred;
    DType dtype;
};

// Hidden activities (rows x n, in place) on the way to targets that few units of a row and few rows of a unit have:
//   h = (1 - cost) h + cost ((rank + 1/2) / rows)^(1 / target - 1)
// whose mean over a unit's rows is about `target`. The rank of a row's activity among those of the unit is taken of its
// rank among the units of the row, lower indices first among equals. ranks is rows x n too. H. Goh, N. Thome, M. Cord,
// "Biasing restricted Boltzmann machines to manipulate latent selectivity and sparsity", NIPS 2010 workshop.
struct SelectiveTargets {
    int64_t rows, n;
    void *activities, *ranks;
    double target, cost;
    DType dtype;
};

// Up the gradient, and not past [low, high]; v = momentum v + rate g, p = p + v. p may be null: v alone.
struct MomentumSlice {
    int64_t n;
    void *p, *v;
    const void* g;
    double low, high;
    int32_t* nonfinite;  // set to 1 if a new p is Inf or NaN; may be null
};
struct MomentumStep {
    MomentumSlice slices[8];
    int count;
    double rate, momentum;
    DType dtype;
};

// d log p / d log sigma^2 of the Gaussian units [begin, end) of n: with d = x - a
//   dz_i = row_scale_i (sum_b contrast_b d_bi^2 / 2 - row_dot_i)
struct VarianceGradient {
    int64_t rows, n, begin, end;
    const void *x, *bias, *contrast, *row_scale, *row_dot;
    void* dz;
    DType dtype;
};

// What log variances z mean: precision = exp(-z), sigma = exp(z / 2).
struct Variances {
    int64_t n;
    const void* z;
    void *precision, *sigma;
    DType dtype;
};

// Derivatives of the log weights of double rectified units [begin, end) of n by gap and asymmetry, times `scale`, added
// to gradient (n gaps, then n asymmetries). shape as gradient.
struct ShapeGradient {
    int64_t rows, n, begin, end;
    const void *states, *contrast, *shape;
    double scale;
    void* gradient;
    DType dtype;
};

// log_weight[i] += sign log_z[i] + factor sum_j state_ij shift_j: a step of annealed importance sampling. log_z may be
// null. The sums are in double.
struct WeighAnnealed {
    int64_t rows, n;
    Left states;
    const void *log_z, *shift;
    double sign, factor;
    double* log_weight;
    DType dtype;
};

}  // namespace unsupfast
