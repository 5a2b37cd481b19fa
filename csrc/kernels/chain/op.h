// Block Gibbs sampling of a restricted Boltzmann machine with Bernoulli units, many alternations in one op.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// m chains of two layers: `near`, whose states come in and go out, and `far`, drawn first. Each of `steps`
// alternations draws
//   far  ~ sigmoid(near . to_far + far_bias)      with the random numbers (seed, first_step + s, far_stream)
//   near ~ sigmoid(far . to_near + near_bias)     with (seed, first_step + s, near_stream)
// which are those of a HalfStep with the same draw, s = 0 .. steps - 1. With steps == 0 nothing is written.
//
// Annealing, where betas is not null, with from = betas[s] and to = betas[s + 1]:
//   log_weight[i] += A(to x) - A(from x), summed over far, + (to - from) near . (near_bias - base_bias)
//   far ~ sigmoid(to x), near ~ sigmoid(to (far . to_near) + to near_bias + (1 - to) base_bias)
// where x = near . to_far + far_bias and A = softplus. At to == 0 the weights are added and nothing is drawn.
struct GibbsChain {
    int64_t m, near, far, steps;
    uint32_t* near_bits;           // m rows of bit_words(near)
    uint32_t* far_bits;            // the last states of far, or null
    const void *to_far, *to_near;  // panels of `format`: near x far and far x near
    const void *near_bias, *far_bias;
    void* near_mean;  // m x near: means of the last draw of near, or null
    uint64_t seed;
    uint32_t first_step, near_stream, far_stream, first_row;
    const uint32_t* clock;  // where not null, what lies there is added to first_step
    const double* betas;    // steps + 1
    const void* base_bias;  // near
    double* log_weight;     // m
    DType dtype, format;
};

// Whether the CUDA kernel takes layers of these sizes: it keeps both operands in the shared memory of a cluster. Null
// where CUDA is not built.
__attribute__((weak)) bool chain_fits_cuda(int64_t near, int64_t far, DType format);

}  // namespace unsupfast
