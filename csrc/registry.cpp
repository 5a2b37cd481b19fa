#include "registry.h"

#include <atomic>
#include <cstdlib>

namespace unsupfast {
namespace {

constexpr const char* kNames[kBackends] = {"ref", "base", "avx2", "avx512", "avx512bf16", "cuda"};

bool runs_here(Backend b) {
    if (b == Backend::ref || b == Backend::base) return true;
#if defined(__x86_64__)
    // built at all?
    if (!table<struct Gemm>()[size_t(b)]) return false;
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                      __builtin_cpu_supports("popcnt");
    if (b == Backend::avx2) return avx2;
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (b == Backend::avx512) return avx512;
    if (b == Backend::avx512bf16)
        return avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
               __builtin_cpu_supports("avx512vbmi2");
#endif
    return false;
}

Backend from_name(const std::string& name) {
    for (int b = 0; b < int(Backend::cuda); ++b)
        if (name == kNames[b]) {
            if (!runs_here(Backend(b)))
                throw std::invalid_argument("instruction set '" + name +
                                            "' is not available here; the best this build and processor offer is '" +
                                            backend_name(best_isa()) + "'");
            return Backend(b);
        }
    throw std::invalid_argument("unknown instruction set '" + name +
                                "'; expected one of ref, base, avx2, avx512, avx512bf16");
}

std::atomic<int>& active() {
    static std::atomic<int> isa = [] {
        const char* wish = std::getenv("UNSUPFAST_ISA");
        return int(wish && *wish ? from_name(wish) : best_isa());
    }();
    return isa;
}

}  // namespace

const char* backend_name(Backend b) { return kNames[size_t(b)]; }

Backend best_isa() {
    for (int b = int(Backend::avx512bf16); b > 0; --b)
        if (runs_here(Backend(b))) return Backend(b);
    return Backend::ref;
}

Backend active_isa() { return Backend(active().load(std::memory_order_relaxed)); }
void set_isa(const std::string& name) { active() = int(from_name(name)); }

const std::array<CatalogueEntry,
#define OP(P) +1
                 0
#include "ops.def"
#undef OP
                 >&
catalogue() {
    static const auto entry = []<class P>(const char* name, P*) {
        CatalogueEntry e{name, {}};
        for (size_t b = 0; b < kBackends; ++b) e.has[b] = table<P>()[b] != nullptr;
        return e;
    };
    static const std::array<CatalogueEntry,
#define OP(P) +1
                            0
#include "ops.def"
#undef OP
                            >
        list{{
#define OP(P) entry(#P, static_cast<P*>(nullptr)),
#include "ops.def"
#undef OP
        }};
    return list;
}

}  // namespace unsupfast
