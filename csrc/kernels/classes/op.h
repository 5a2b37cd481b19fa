// What every class makes of a row in a classification RBM: one unit of a group of labels is on, so that hidden units
// given the row and a class are independent, and sums over classes are exact. x_ij(c) = field_ij + u_cj is the total
// input of hidden unit j where class c is on; fields come from the other visible units and hidden biases.
#pragma once
#include "kernels/rbm/op.h"

namespace unsupfast {

// Weights of labels: entry (c, j) = data[j / kPanel * panel_stride + c * class_stride + j % kPanel], the last rows of
// weights in panels, or (with a panel_stride of kPanel) rows of a matrix.
struct ClassWeights {
    const void* data;
    int64_t panel_stride, class_stride;
};

// scores[i, c] = bias[c] + sum_j softplus(x_ij(c)): log p(c | row i) up to a number of the row's.
struct ClassScores {
    int64_t rows, hiddens, classes;
    const void* field;  // rows x hiddens
    ClassWeights u;
    const void* bias;
    void* scores;  // rows x classes
    DType dtype;
};

// What each class counts for in the gradient of
//   generative_i log p(row i and its label) + discriminative_i log p(label | row i)
// by the parameters of the hidden units: with p = softmax(scores[i]), and q = p where the label is -1 (unknown), else
// 1 for the label and 0 for others,
//   share[i, c] = (generative_i + discriminative_i) q_c - discriminative_i p_c
// choice[i] = the label, or a draw from p. scores may be null where labels are known and discriminative is 0, and
// choice may be null.
struct ClassShares {
    int64_t rows, classes;
    const void* scores;
    const int64_t* label;
    const void *generative, *discriminative;  // rows
    void* share;
    int64_t* choice;
    Draw draw;  // unit 0 of row i
    DType dtype;
};

// With h_ij(c) = sigmoid(x_ij(c)):
//   activity[i, j] = sum_c share[i, c] h_ij(c),   by_class[c, j] = sum_i share[i, c] h_ij(c)
//   chosen[i, j] = x_ij(choice_i)
// Outputs may be null (choice with chosen).
struct ClassActivity {
    int64_t rows, hiddens, classes;
    const void* field;  // rows x hiddens
    ClassWeights u;
    const void* share;      // rows x classes
    const int64_t* choice;  // rows
    void *activity, *by_class, *chosen;
    DType dtype;
};

}  // namespace unsupfast
