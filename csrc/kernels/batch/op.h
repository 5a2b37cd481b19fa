// Mini-batches.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// What makes x~ of x, from the uniform u of its row and column:
//   masking      0 where u < amount
//   salt_pepper  0 where u < amount / 2, else 1 where u < amount
//   gaussian     x + amount z, z the normal quantile of u
//   bernoulli    1 where u < x, else 0: states drawn from means
enum class Corruption : int { none, masking, salt_pepper, gaussian, bernoulli };

// clean (m x n) = rows index[i] of x (null: as they come); corrupted = the same, corrupted. Either may be null. The
// random numbers of a row are those of its place in x, so they do not depend on the batch it comes in.
struct TakeRows {
    int64_t m, n;
    Left x;
    const int64_t* index;
    void *clean, *corrupted;
    Corruption corruption;
    double amount;
    Draw draw;
    DType dtype;
};

}  // namespace unsupfast
