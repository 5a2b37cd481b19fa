// The only place where threads are used: one pool, safe across fork.
#pragma once
#include "kernel.h"

namespace unsupfast {

int num_threads();
// n <= 0 means all processors this process may run on.
void set_num_threads(int n);

// The launch context of CPU kernels, backed by the pool and by per-thread scratch memory.
const Launch& cpu_launch();

}  // namespace unsupfast
