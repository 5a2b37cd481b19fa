// Functions of every element, from one table.
#pragma once
#include "kernel.h"

namespace unsupfast {

// The table. A line is a function's name, what it costs (vector instructions, roughly) and its value: an expression
// of a, of a and b, that holds for numbers and for vectors of them alike. V is the type of a and b, T that of an
// element; what the expressions call stands in functions.h. Kernels, bindings and the names in unsupfast._core are
// made of this table; the derivatives stand in python/unsupfast/_elementwise.py.
#define USF_UNARY(F)                                           \
    F(neg, 1, -a)                                              \
    F(abs, 1, a < T(0) ? -a : a)                               \
    F(square, 1, (a * a))                                      \
    F(reciprocal, 4, T(1) / a)                                 \
    F(relu, 1, a < T(0) ? V{} : a)                             \
    F(positive, 1, a > T(0) ? V{} + T(1) : V{})                \
    F(sqrt, 8, sqrt(a))                                        \
    F(exp, 16, full_exp(a))                                    \
    F(log, 16, full_log(a))                                    \
    F(tanh, 32, tanh(a))                                       \
    F(sigmoid, 24, sigmoid(a))                                 \
    F(softplus, 32, softplus(a))                               \
    F(probit, 48, probit(a))                                   \
    F(continuous_mean, 48, continuous_mean<T>(a))              \
    F(continuous_variance, 64, (continuous_cumulant<2, T>(a))) \
    F(continuous_third, 64, (continuous_cumulant<3, T>(a)))    \
    F(continuous_fourth, 64, (continuous_cumulant<4, T>(a)))

#define USF_BINARY(F)                         \
    F(add, 1, a + b)                          \
    F(sub, 1, a - b)                          \
    F(mul, 1, (a * b))                        \
    F(div, 4, a / b)                          \
    F(maximum, 1, (a > b) | (a != a) ? a : b) \
    F(minimum, 1, (a < b) | (a != a) ? a : b) \
    F(power, 64, power<T>(a, b)) /* b: one constant */

enum class Elementary : int {
#define F(name, cost, value) name,
    USF_UNARY(F) USF_BINARY(F)
#undef F
        where  // a where the condition holds, else b
};

constexpr int elementary_cost(Elementary f) {
    constexpr int costs[] = {
#define F(name, cost, value) cost,
        USF_UNARY(F) USF_BINARY(F)
#undef F
            1};
    return costs[int(f)];
}

constexpr bool takes_two(Elementary f) { return f >= Elementary::add; }
static_assert(!takes_two(Elementary::continuous_fourth) && takes_two(Elementary::where));

constexpr int kRank = 4;

// y = f(a), f(a, b), or where(condition, a, b): the result is contiguous, of these extents (from the slowest to the
// fastest; 1 where there are fewer axes). Strides are in elements, 0 along an axis that an operand is repeated over.
// All of a and b are of type dtype; the condition's bytes are 0 or 1. Of a function of two operands one may be null: it
// is `number` then, and its strides are 0.
struct Elementwise {
    Elementary f;
    int64_t extent[kRank];
    const void* a;
    const void* b;
    const uint8_t* condition;
    int64_t a_stride[kRank], b_stride[kRank], condition_stride[kRank];
    void* y;
    DType dtype;
    double number;
};

}  // namespace unsupfast
