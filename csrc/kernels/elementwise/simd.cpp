// The table on vectors: a function of rows for each line. Operands lie along a row as neighbours or are one element for
// all; others are gathered first.
#include "kernels/elementwise/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

#define USF_BOTH inline
#include "kernels/elementwise/functions.h"

constexpr int64_t kChunk = 4096;     // elements: what is cut no further
constexpr int64_t kGathered = 512;   // elements gathered at a time
constexpr int64_t kAlone = 1 << 17;  // instructions that are not worth waking threads for

// a to a power that is the same in all lanes. Integers up to 32 by repeated squaring (relative error below b units
// in the last place), halves by square roots.
template <class T>
Vec<T> power(Vec<T> a, Vec<T> b) {
    const T e = b[0], size = e < 0 ? -e : e;
    if (size == T(0.5)) return e > 0 ? sqrt(a) : T(1) / sqrt(a);
    if (size <= 32 && size == T(int(size))) {
        Vec<T> y = splat(T(1));
        for (int n = int(size); n; n >>= 1, a = a * a)
            if (n & 1) y = y * a;
        return e < 0 ? T(1) / y : y;
    }
    if constexpr (sizeof(T) == 4) {
        if (size != T(int64_t(size))) {  // through double, where the logarithm's error does not show
            typedef float Half __attribute__((vector_size(USF_BYTES / 2)));
            Half half[2];
            std::memcpy(half, &a, sizeof a);
            for (Half& h : half)
                h = __builtin_convertvector(exp(log(__builtin_convertvector(h, vf64)) * double(e)), Half);
            std::memcpy(&a, half, sizeof a);
            return a;
        }
        for (int i = 0; i < kLanes<T>; ++i) a[i] = __builtin_powf(a[i], e);
    } else {
        for (int i = 0; i < kLanes<T>; ++i) a[i] = __builtin_pow(a[i], e);
    }
    return a;
}

template <class T, bool kMany>
inline Vec<T> fetch(const T* p, int64_t i, int64_t n) {
    if constexpr (kMany)
        return load_n(p + i, n);
    else
        return splat(*p);
}

template <class T, bool kA, bool kB, class G>
inline void along(G f, int64_t n, const T* a, const T* b, T* y) {
    constexpr int L = kLanes<T>;
    int64_t i = 0;
    for (; i + L <= n; i += L) store(y + i, f(fetch<T, kA>(a, i, L), fetch<T, kB>(b, i, L)));
    if (i < n) store_n(y + i, f(fetch<T, kA>(a, i, n - i), fetch<T, kB>(b, i, n - i)), n - i);
}

template <class T>
using Row = void (*)(int64_t n, const T* a, const T* b, T* y);

// The table's lines; b is not looked at by functions of one operand.
#define F(name, cost, value)                                                                  \
    template <class T, bool kA, bool kB>                                                      \
    void name##_row(int64_t n, const T* a_, const T* b_, T* y) {                              \
        using V = Vec<T>;                                                                     \
        along<T, kA, kB>([](V a, [[maybe_unused]] V b) -> V { return value; }, n, a_, b_, y); \
    }
USF_UNARY(F)
USF_BINARY(F)
#undef F

// a_many, b_many: a row has many elements of that operand, not one
template <class T>
Row<T> row_of(Elementary f, bool a_many, bool b_many) {
    switch (f) {
#define F(name, cost, value) \
    case Elementary::name:   \
        return &name##_row<T, true, false>;
        USF_UNARY(F)
#undef F
#define F(name, cost, value)                          \
    case Elementary::name:                            \
        return !a_many  ? &name##_row<T, false, true> \
               : b_many ? &name##_row<T, true, true>  \
                        : &name##_row<T, true, false>;
        USF_BINARY(F)
#undef F
        case Elementary::where:
            break;
    }
    return nullptr;
}

// Neighbours in `to`
template <class T>
const T* gather(const T* from, int64_t stride, int64_t n, T* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
    return to;
}

template <class T>
void where_row(int64_t n, const uint8_t* c, int64_t c_stride, const T* a, int64_t a_stride, const T* b,
               int64_t b_stride, T* y) {
    constexpr int L = kLanes<T>;
    typedef int8_t Bytes __attribute__((vector_size(L)));
    using Mask = typename VecOf<T>::mask;
    const bool plain = c_stride == 1 && a_stride <= 1 && a_stride >= 0 && b_stride <= 1 && b_stride >= 0;
    int64_t i = 0;
    for (; plain && i + L <= n; i += L) {
        Bytes byte;
        std::memcpy(&byte, c + i, sizeof byte);
        const Mask mask = __builtin_convertvector(byte, Mask);
        store(y + i, Vec<T>(mask != 0 ? (a_stride ? load(a + i) : splat(*a)) : (b_stride ? load(b + i) : splat(*b))));
    }
    for (; i < n; ++i) y[i] = c[i * c_stride] ? a[i * a_stride] : b[i * b_stride];
}

template <class T>
void elementwise(const Elementwise& p, const Launch& launch) {
    const int64_t n = p.extent[3], rows = p.extent[0] * p.extent[1] * p.extent[2];
    if (n * rows == 0) return;
    const int64_t chunks = (n + kChunk - 1) / kChunk;
    const int64_t sa = p.a_stride[3], sb = p.b_stride[3], sc = p.condition_stride[3];
    const bool choose = p.f == Elementary::where, two = takes_two(p.f);
    const T number = T(p.number);
    const T* a = p.a ? static_cast<const T*>(p.a) : &number;
    const T* b = p.b ? static_cast<const T*>(p.b) : two ? &number : a;
    T* y = static_cast<T*>(p.y);
    // one element is as good as many where a row has one, or where there is no function of a single a
    const bool binary = two && !choose, a_many = !binary || sa != 0 || sb == 0, b_many = binary && sb != 0;
    const bool a_gathered = a_many && sa != 1 && n > 1, b_gathered = b_many && sb != 1 && n > 1;
    const Row<T> row = choose ? nullptr : row_of<T>(p.f, a_many, b_many);
    const auto function = [&](int64_t length, const T* x, const T* z, T* to) {
        if (!a_gathered && !b_gathered) return row(length, x, z, to);
        T buffer[2][kGathered];
        for (int64_t i = 0; i < length; i += kGathered) {
            const int64_t m = least(kGathered, length - i);
            row(m, a_gathered ? gather(x + i * sa, sa, m, buffer[0]) : x + (a_many ? i : 0),
                b_gathered ? gather(z + i * sb, sb, m, buffer[1]) : z + (b_many ? i : 0), to + i);
        }
    };
    auto work = [&](int64_t begin, int64_t end) {
        // where row `begin / chunks` begins; from there the rows are counted like the wheels of an odometer
        int64_t r = begin / chunks, chunk = begin % chunks;
        int64_t i[3] = {r / p.extent[2] / p.extent[1], r / p.extent[2] % p.extent[1], r % p.extent[2]};
        const auto at = [&](const int64_t* s) { return i[0] * s[0] + i[1] * s[1] + i[2] * s[2]; };
        for (int64_t item = begin; item < end; ++item) {
            const int64_t j = chunk * kChunk, length = least(kChunk, n - j);
            const T *x = a + at(p.a_stride) + j * sa, *z = b + at(p.b_stride) + j * sb;
            if (choose)
                where_row<T>(length, p.condition + at(p.condition_stride) + j * sc, sc, x, sa, z, sb, y + r * n + j);
            else
                function(length, x, z, y + r * n + j);
            if (++chunk < chunks) continue;
            chunk = 0;
            ++r;
            for (int d = 2; d >= 0 && ++i[d] == p.extent[d]; --d) i[d] = 0;
        }
    };
    if (n * rows * elementary_cost(p.f) * int64_t(sizeof(T)) < 4 * kAlone)
        work(0, rows * chunks);
    else
        parallel_for(launch, rows * chunks, [&](int64_t begin, int64_t end) { work(begin, end); });
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Elementwise, elementwise)

}  // namespace unsupfast
