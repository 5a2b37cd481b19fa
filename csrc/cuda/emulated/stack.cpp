#include "cuda/emulated/stack.h"

#include <sys/mman.h>

#include <new>

#include "cuda/emulated/races.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Keeps what a function has to preserve on the stack, the stack's pointer in *from, and goes on with the stack `to`.
extern "C" void usf_switch_stack(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl usf_switch_stack
.hidden usf_switch_stack
.type usf_switch_stack, @function
usf_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size usf_switch_stack, .-usf_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl usf_switch_stack
.hidden usf_switch_stack
.type usf_switch_stack, %function
usf_switch_stack:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size usf_switch_stack, .-usf_switch_stack
)");
#else
#error "the emulated GPU switches stacks on x86-64 and aarch64 only"
#endif

namespace unsupfast::emulated {
namespace {

constexpr size_t kStack = 256 * 1024, kGuard = 4096;

Stack* left_last = nullptr;  // the stack from which the running one was switched to

}  // namespace

Stack::Stack() {
#if defined(UNSUPFAST_RACES)
    seen_ = __tsan_get_current_fiber();
#endif
}

Stack::Stack(void (*entry)()) : size_(kStack) {
    memory_ =
        mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory_, kGuard, PROT_NONE);
    char* const bottom = static_cast<char*>(memory_) + kGuard;
    bottom_ = bottom;
    // as usf_switch_stack left it: registers, then where it returns to; a function starts with its stack at 16 n + 8
#if defined(__x86_64__)
    void** const top = reinterpret_cast<void**>(bottom + kStack - 64);
    top[6] = reinterpret_cast<void*>(entry);
#else
    void** const top = reinterpret_cast<void**>(bottom + kStack - 256);
    top[11] = reinterpret_cast<void*>(entry);
#endif
    pointer_ = top;
#if defined(UNSUPFAST_RACES)
    seen_ = __tsan_create_fiber(0);
#endif
}

Stack::~Stack() {
    if (!memory_) return;
    munmap(memory_, kGuard + kStack);
#if defined(UNSUPFAST_RACES)
    __tsan_destroy_fiber(seen_);
#endif
}

void Stack::switch_to(Stack& other) {
    left_last = this;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_, other.bottom_, other.size_);
#endif
#if defined(UNSUPFAST_RACES)
    __tsan_switch_to_fiber(other.seen_, __tsan_switch_to_fiber_no_sync);
#endif
    usf_switch_stack(&pointer_, other.pointer_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_, &left_last->bottom_, &left_last->size_);
#endif
}

void Stack::arrive() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &left_last->bottom_, &left_last->size_);
#endif
}

}  // namespace unsupfast::emulated
