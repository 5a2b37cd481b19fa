// The table on single numbers, for the plain loops and for the GPU's threads. Included inside a namespace with USF_BOTH
// what functions are declared as there (so there is no #pragma once).
#include "kernels/elementwise/functions.h"

template <class T>
USF_BOTH T full_exp(T a) {
    return exp(a);
}
template <class T>
USF_BOTH T full_log(T a) {
    return log(a);
}
template <class T>
USF_BOTH T power(T a, T b) {
    return pow(a, b);
}

template <class T>
USF_BOTH T value(Elementary f, T a, T b, bool condition) {
    using V = T;
    switch (f) {
#define F(name, cost, value) \
    case Elementary::name:   \
        return value;
        USF_UNARY(F)
        USF_BINARY(F)
#undef F
        case Elementary::where:
            return condition ? a : b;
    }
    return a;
}
