// Vectors of the width that this translation unit is compiled for (USF_ISA). Arithmetic is the
// compiler's own vector extension, so one source serves every instruction set; only what the extension
// cannot say (masks, partial loads, wide multiplies, square roots) is written per instruction set.
// Multiply-adds contract to FMA where the instruction set has it (-ffp-contract=fast).
#pragma once
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernel.h"

#if defined(__AVX512F__)
#define USF_BYTES 64
#elif defined(__AVX2__)
#define USF_BYTES 32
#else
#define USF_BYTES 16
#endif

namespace unsupfast::USF_ISA {

typedef float vf32 __attribute__((vector_size(USF_BYTES)));
typedef double vf64 __attribute__((vector_size(USF_BYTES)));
typedef int16_t vi16 __attribute__((vector_size(USF_BYTES)));
typedef int32_t vi32 __attribute__((vector_size(USF_BYTES)));
typedef uint32_t vu32 __attribute__((vector_size(USF_BYTES)));
typedef int64_t vi64 __attribute__((vector_size(USF_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(USF_BYTES)));

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
    using type = vf32;
    using mask = vi32;
};
template <>
struct VecOf<double> {
    using type = vf64;
    using mask = vi64;
};
template <>
struct VecOf<int16_t> {
    using type = vi16;
};
template <>
struct VecOf<int32_t> {
    using type = vi32;
    using mask = vi32;
};
template <>
struct VecOf<uint32_t> {
    using type = vu32;
    using mask = vi32;
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
constexpr int kLanes = USF_BYTES / sizeof(T);

template <class V, class F>
inline V bits(F x) {
    static_assert(sizeof(V) == sizeof(F));
    V r;
    std::memcpy(&r, &x, sizeof r);
    return r;
}

template <class T>
inline Vec<T> splat(T x) {
    return x - Vec<T>{};
}

template <class T>
inline Vec<T> load(const T* p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
    std::memcpy(p, &v, sizeof v);
}

// The first n lanes (0 <= n <= lanes); the others read as zero and are not touched in memory.
template <class T>
inline Vec<T> load_n(const T* p, int64_t n) {
    if (n >= kLanes<T>) return load(p);
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
    else
        return (Vec<T>)_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p);
#else
    Vec<T> v{};
    for (int64_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
#endif
}

template <class T>
inline void store_n(T* p, Vec<T> v, int64_t n) {
    if (n >= kLanes<T>) return store(p, v);
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
    else
        _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
#else
    for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// Bit i is set where lane i is not zero (NaN counts as not zero).
template <class T>
inline uint32_t nonzero_bits(Vec<T> v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    else
        return _mm512_cmp_pd_mask((__m512d)v, _mm512_setzero_pd(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
    else
        return uint32_t(_mm256_movemask_pd(_mm256_cmp_pd((__m256d)v, _mm256_setzero_pd(), _CMP_NEQ_UQ)));
#else
    uint32_t m = 0;
    for (int i = 0; i < kLanes<T>; ++i) m |= uint32_t(v[i] != 0) << i;
    return m;
#endif
}

// Bit i is the top bit of lane i.
inline uint32_t sign_bits(vu32 v) {
#if defined(__AVX512F__)
    return _mm512_cmplt_epi32_mask((__m512i)v, _mm512_setzero_si512());
#elif defined(__AVX2__)
    return uint32_t(_mm256_movemask_ps((__m256)v));
#else
    uint32_t m = 0;
    for (int i = 0; i < kLanes<uint32_t>; ++i) m |= (v[i] >> 31) << i;
    return m;
#endif
}

// Lane i is x where bit i is set, else 0: the inverse of nonzero_bits.
template <class T>
inline Vec<T> where_bits(uint32_t mask, T x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm512_maskz_mov_ps(__mmask16(mask), _mm512_set1_ps(x));
    else
        return (Vec<T>)_mm512_maskz_mov_pd(__mmask8(mask), _mm512_set1_pd(x));
#else
    using M = typename VecOf<T>::mask;
    M lane;
    for (int i = 0; i < kLanes<T>; ++i) lane[i] = 1 << i;
    const M set = (M{} + static_cast<std::remove_reference_t<decltype(lane[0])>>(mask)) & lane;
    return set != 0 ? splat(x) : Vec<T>{};
#endif
}

// Appends base + i for every set bit i, in order; K is uint16_t or int32_t. May write up to 31 entries past the
// last.
template <class K>
inline K* append_positions(K* list, uint32_t mask, int32_t base) {
#if defined(__AVX512VBMI2__)
    if constexpr (sizeof(K) == 2) {
        alignas(64) static constexpr uint16_t kFirst[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                            11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                            22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
        const __m512i position = _mm512_add_epi16(_mm512_load_si512(kFirst), _mm512_set1_epi16(int16_t(base)));
        const __m512i packed = _mm512_maskz_compress_epi16(mask, position);
        const int count = __builtin_popcount(mask);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(list), _mm512_castsi512_si256(packed));
        if (count > 16) _mm512_storeu_si512(list, packed);
        return list + count;
    }
#endif
#if defined(__AVX512F__)
    for (int half = 0; half < 32; half += 16, mask >>= 16, base += 16) {
        const __m512i position = _mm512_add_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(base));
        const __m512i packed = _mm512_maskz_compress_epi32(__mmask16(mask), position);
        if constexpr (sizeof(K) == 2)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(list), _mm512_cvtepi32_epi16(packed));
        else
            _mm512_storeu_si512(list, packed);
        list += __builtin_popcount(mask & 0xffffu);
    }
    return list;
#else
    for (; mask; mask &= mask - 1) *list++ = K(base + __builtin_ctz(mask));
    return list;
#endif
}

// Lanes 0 .. n-1 of v, zero in the others.
template <class T>
inline Vec<T> first_n(Vec<T> v, int64_t n) {
    if (n >= kLanes<T>) return v;
    using M = typename VecOf<T>::mask;
    M lane;
    for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
    const auto count = static_cast<std::remove_reference_t<decltype(lane[0])>>(n);
    return lane < count ? v : Vec<T>{};
}

template <class T>
inline T sum(Vec<T> v) {
    T s = 0;
    for (int i = 0; i < kLanes<T>; ++i) s += v[i];
    return s;
}

// a b + c, rounded once where the instruction set can. Sums that must come out the same from different
// loops say it with this: whether the compiler contracts an expression may differ from loop to loop.
template <class T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else
        return (Vec<T>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else
        return (Vec<T>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
    else
        return (Vec<T>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

template <class T>
inline Vec<T> max(Vec<T> a, Vec<T> b) {
    return a > b ? a : b;
}
template <class T>
inline Vec<T> min(Vec<T> a, Vec<T> b) {
    return a < b ? a : b;
}

inline vf32 sqrt(vf32 v) {
#if defined(__AVX512F__)
    return (vf32)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
    return (vf32)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
    return (vf32)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (vf32)vsqrtq_f32((float32x4_t)v);
#else
    for (int i = 0; i < kLanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
    return v;
#endif
}
inline vf64 sqrt(vf64 v) {
#if defined(__AVX512F__)
    return (vf64)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
    return (vf64)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
    return (vf64)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
    return (vf64)vsqrtq_f64((float64x2_t)v);
#else
    for (int i = 0; i < kLanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
#endif
}

// Transposes a square of lanes x lanes elements held in registers.
template <class T, int kStep>
inline void transpose_stage(Vec<T>* v) {
    using M = typename VecOf<T>::mask;
    constexpr int L = kLanes<T>;
    M low, high;
    for (int i = 0; i < L; ++i) {
        low[i] = (i & kStep) ? L + i - kStep : i;
        high[i] = (i & kStep) ? L + i : i + kStep;
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
        if (!(i & kStep)) {
            const Vec<T> a = v[i], b = v[i + kStep];
            v[i] = __builtin_shuffle(a, b, low);
            v[i + kStep] = __builtin_shuffle(a, b, high);
        }
}

template <class T, int kStep = 1>
inline void transpose(Vec<T>* v) {
    if constexpr (kStep < kLanes<T>) {
        transpose_stage<T, kStep>(v);
        transpose<T, kStep * 2>(v);
    }
}

// bfloat16, round to nearest even, in the low half of each lane; NaN stays NaN.
inline vu32 to_bf16(vf32 x) {
    const vu32 u = bits<vu32>(x);
    const vu32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return x == x ? rounded : (u >> 16) | 64u;
}

// Keeps a value as it was rounded: nothing that follows is contracted with the operation that made it.
template <class V>
inline V as_rounded(V v) {
#if defined(__x86_64__)
    asm("" : "+v"(v));
#else
    asm("" : "+w"(v));
#endif
    return v;
}

// The nearest integer, ties to even, of |x| < 2^22.
inline vi32 nearest(vf32 x) {
    const float magic = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
    return bits<vi32>(x + magic) - bits<int32_t>(magic);
}

}  // namespace unsupfast::USF_ISA

// The kernel of op P on this instruction set is f<float> or f<double>, by the op's dtype.
#define USF_KERNEL_BY_DTYPE(P, f) \
    USF_KERNEL(USF_ISA, P) { p.dtype == DType::f64 ? USF_ISA::f<double>(p, launch) : USF_ISA::f<float>(p, launch); }
