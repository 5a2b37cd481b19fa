// Where an element of a left operand of patches lies: for plain loops and the GPU's threads alike.
#pragma once
#include "kernels/gemm/op.h"
#include "philox.h"

namespace unsupfast {

// Row of all maps' rows, and element in it. Outside of the map the row is -1.
struct PatchPlace {
    int64_t row, element;
};

// The place of tap j of position i.
USF_HD PatchPlace patch_place(const Patches& p, int64_t i, int64_t j) {
    if (p.turned) {
        const int64_t swapped = i;
        i = j;
        j = swapped;
    }
    const int64_t c = j % p.channels, s = j / p.channels % p.cols, r = j / p.channels / p.cols;
    const int64_t x = i % p.out_width, y = i / p.out_width % p.out_height, map = i / p.out_width / p.out_height;
    const int64_t row = y * p.stride_y - p.top + r, column = x * p.stride_x - p.left + s;
    if (row < 0 || column < 0 || row % p.gap || column % p.gap || row / p.gap >= p.height || column / p.gap >= p.width)
        return {-1, 0};
    return {map * p.height + row / p.gap, column / p.gap * p.channels + c};
}

}  // namespace unsupfast
