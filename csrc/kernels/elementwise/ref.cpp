// Plain loops: the meaning of the elementwise family.
#include "kernels/elementwise/op.h"

#include "elementary.h"
#include "kernels/gemm/ref.h"

namespace unsupfast {
namespace {

using std::exp, std::log, std::pow, std::sqrt, std::tanh;
#define USF_BOTH
#include "kernels/elementwise/scalar.h"

template <class T>
void elementwise(const Elementwise& p) {
    const T number = T(p.number);
    const T *a = p.a ? static_cast<const T*>(p.a) : &number, *b = p.b ? static_cast<const T*>(p.b) : &number;
    T* y = static_cast<T*>(p.y);
    int64_t i[kRank];
    const auto at = [&](const int64_t* stride) {
        return i[0] * stride[0] + i[1] * stride[1] + i[2] * stride[2] + i[3] * stride[3];
    };
    for (i[0] = 0; i[0] < p.extent[0]; ++i[0])
        for (i[1] = 0; i[1] < p.extent[1]; ++i[1])
            for (i[2] = 0; i[2] < p.extent[2]; ++i[2])
                for (i[3] = 0; i[3] < p.extent[3]; ++i[3])
                    *y++ = value<T>(p.f, a[at(p.a_stride)], takes_two(p.f) ? b[at(p.b_stride)] : T(0),
                                    p.condition && p.condition[at(p.condition_stride)]);
}

}  // namespace

USF_REF_BY_DTYPE(Elementwise, elementwise)

}  // namespace unsupfast
