// wgmma: what threads asked for is multiplied when they wait for it, from what shared memory holds then.
#pragma once

namespace unsupfast::emulated {

// What the thread asked for since the last call is a group.
void commit_products();
// Until all groups but the last `left` are done. A warpgroup calls it together.
void finish_products(int left);

}  // namespace unsupfast::emulated
