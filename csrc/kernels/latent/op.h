// Codes of a variational auto-encoder with a diagonal-Gaussian posterior.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// head holds [mean, log variance] of m codes: m x 2 n. For each `samples` draws, rows i samples + s of z and eps:
//   eps ~ N(0, 1),  z = mean + exp(log_variance / 2) eps
// and kl (m x n) = KL(N(mean, variance) || N(0, 1)) of each dimension, in nats. z, eps may be null together.
struct Latent {
    int64_t m, n, samples;
    const void* head;
    Draw draw;  // row = first_row + i samples + s
    void *z, *eps, *kl;
    DType dtype;
};

// ghead (m x 2 n) = the gradient by head, given those by z and kl; either of the two may be null.
struct LatentGrad {
    int64_t m, n, samples;
    const void *head, *eps, *gz, *gkl;
    void* ghead;
    DType dtype;
};

}  // namespace unsupfast
