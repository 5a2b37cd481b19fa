// What orders one thread's accesses to memory before another's, for ThreadSanitizer (UNSUPFAST_SANITIZE=thread): every
// thread is one of its fibers, so it reports two at the same place of which neither comes first, whatever the order in
// which they ran. What the emulator itself does is not seen.
#pragma once

#if defined(UNSUPFAST_RACES)
#include <sanitizer/tsan_interface.h>
#define USF_UNSEEN __attribute__((no_sanitize("thread")))
#else
#define USF_UNSEEN
#endif

namespace unsupfast::emulated {

#if defined(UNSUPFAST_RACES)
inline constexpr bool kRaces = true;
inline void release(void* at) { __tsan_release(at); }
inline void acquire(void* at) { __tsan_acquire(at); }
#else
inline constexpr bool kRaces = false;
inline void release(void*) {}
inline void acquire(void*) {}
#endif

}  // namespace unsupfast::emulated
