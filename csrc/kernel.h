// What every kernel file sees: backends, element types, the launch context, and the macros that
// declare and name kernels. No STL here: this header is compiled under several instruction sets.
#pragma once
#include <cstddef>
#include <cstdint>

namespace unsupfast {

enum class Backend : int { ref, base, avx2, avx512, avx512bf16, cuda };
inline constexpr int kBackends = 6;

enum class DType : int { f32, f64, bf16, i16 };

// What a kernel may use besides its parameters. The function pointers keep threads and memory in one
// place each (parallel.cpp), and keep this header free of their implementation.
struct Launch {
    // Runs body on disjoint pieces that cover [0, n), on all threads; returns when all are done.
    void (*parallel)(int64_t n, void (*body)(void* ctx, int64_t begin, int64_t end), void* ctx);
    // A 64-byte aligned buffer owned by the calling thread, valid until the same slot is asked again.
    void* (*scratch)(int slot, size_t bytes);
    void* stream = nullptr;  // cudaStream_t on the GPU
    // How many threads there are: for cutting work, never for what comes out. Null: one.
    int (*threads)() = nullptr;
};

// Runs f(begin, end) over chunks of [0, n).
template <class F>
static inline void parallel_for(const Launch& launch, int64_t n, F&& f) {
    launch.parallel(
        n, [](void* ctx, int64_t begin, int64_t end) { (*static_cast<F*>(ctx))(begin, end); },
        const_cast<void*>(static_cast<const void*>(&f)));
}

// A kernel of op P for backend B is the function P_B. All are declared weak, so that a missing kernel
// is a null pointer and a misspelt backend does not compile.
#define OP(P)                                                           \
    struct P;                                                           \
    __attribute__((weak)) void P##_ref(const P&, const Launch&);        \
    __attribute__((weak)) void P##_base(const P&, const Launch&);       \
    __attribute__((weak)) void P##_avx2(const P&, const Launch&);       \
    __attribute__((weak)) void P##_avx512(const P&, const Launch&);     \
    __attribute__((weak)) void P##_avx512bf16(const P&, const Launch&); \
    __attribute__((weak)) void P##_cuda(const P&, const Launch&);
#include "ops.def"
#undef OP

#define USF_PASTE(a, b) a##_##b
#define USF_KERNEL_NAME(B, P) USF_PASTE(P, B)
#define USF_KERNEL(B, P) void USF_KERNEL_NAME(B, P)(const P& p, const Launch& launch)

}  // namespace unsupfast
