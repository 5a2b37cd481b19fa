// The table on vectors: a row function for each line and each way that operands can lie along the fastest axis.
#include "kernels/elementwise/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

#define USF_BOTH inline
#include "kernels/elementwise/functions.h"

constexpr int64_t kChunk = 4096;     // elements: what is cut no further
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
    for (int i = 0; i < kLanes<T>; ++i)
        a[i] = sizeof(T) == 4 ? T(__builtin_powf(float(a[i]), float(e))) : T(__builtin_pow(a[i], e));
    return a;
}

// How an operand lies along a row.
enum Lie { kOne, kRow, kAnyhow };  // one element for all, neighbours, neither

template <class T, Lie kLie>
inline Vec<T> fetch(const T* p, int64_t stride, int64_t i, int64_t n) {
    if constexpr (kLie == kOne) return splat(*p);
    if constexpr (kLie == kRow) return load_n(p + i, n);
    Vec<T> v{};
    for (int64_t l = 0; l < least(n, kLanes<T>); ++l) v[l] = p[(i + l) * stride];
    return v;
}

template <class T, Lie kA, Lie kB, class G>
inline void along(G f, int64_t n, const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* y) {
    constexpr int L = kLanes<T>;
    int64_t i = 0;
    for (; i + L <= n; i += L) store(y + i, f(fetch<T, kA>(a, a_stride, i, L), fetch<T, kB>(b, b_stride, i, L)));
    if (i < n) store_n(y + i, f(fetch<T, kA>(a, a_stride, i, n - i), fetch<T, kB>(b, b_stride, i, n - i)), n - i);
}

template <class T>
using Row = void (*)(int64_t n, const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* y);

// The table's lines; b is not looked at by functions of one operand.
#define F(name, cost, value)                                                                                      \
    template <class T, Lie kA, Lie kB>                                                                            \
    void name##_row(int64_t n, const T* a_, int64_t a_stride, const T* b_, int64_t b_stride, T* y) {              \
        using V = Vec<T>;                                                                                         \
        along<T, kA, kB>([](V a, [[maybe_unused]] V b) -> V { return value; }, n, a_, a_stride, b_, b_stride, y); \
    }
USF_UNARY(F)
USF_BINARY(F)
#undef F

template <class T>
Row<T> row_of(Elementary f, Lie a, Lie b) {
    switch (f) {
#define F(name, cost, value) \
    case Elementary::name:   \
        return a == kRow ? &name##_row<T, kRow, kOne> : &name##_row<T, kAnyhow, kOne>;
        USF_UNARY(F)
#undef F
#define F(name, cost, value)                                         \
    case Elementary::name:                                           \
        return a == kRow && b == kRow   ? &name##_row<T, kRow, kRow> \
               : a == kRow && b == kOne ? &name##_row<T, kRow, kOne> \
               : a == kOne && b == kRow ? &name##_row<T, kOne, kRow> \
                                        : &name##_row<T, kAnyhow, kAnyhow>;
        USF_BINARY(F)
#undef F
        case Elementary::where:
            break;
    }
    return nullptr;
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

Lie lie(int64_t stride) { return stride == 1 ? kRow : stride == 0 ? kOne : kAnyhow; }

template <class T>
void elementwise(const Elementwise& p, const Launch& launch) {
    const int64_t n = p.extent[3], rows = p.extent[0] * p.extent[1] * p.extent[2];
    if (n * rows == 0) return;
    const int64_t chunks = (n + kChunk - 1) / kChunk;
    const int64_t sa = p.a_stride[3], sb = p.b_stride[3], sc = p.condition_stride[3];
    const bool choose = p.f == Elementary::where;
    const T *a = static_cast<const T*>(p.a), *b = p.b ? static_cast<const T*>(p.b) : a;
    T* y = static_cast<T*>(p.y);
    const Row<T> row = choose ? nullptr : row_of<T>(p.f, n == 1 ? kRow : lie(sa), n == 1 && p.b ? kRow : lie(sb));
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
                row(length, x, sa, z, sb, y + r * n + j);
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
