// The sizes of a convolution, and the operands of its products.
#pragma once
#include "kernels/conv/op.h"

namespace unsupfast {

struct ConvShape {
    int64_t height, width, channels;  // of the maps that filters are laid upon
    int64_t filters, rows, cols;      // of a filter
    int64_t stride = 1, top = 0, left = 0;

    int64_t out_height() const { return (height + 2 * top - rows) / stride + 1; }
    int64_t out_width() const { return (width + 2 * left - cols) / stride + 1; }
    int64_t positions() const { return out_height() * out_width(); }
    int64_t pixels() const { return height * width * channels; }
    int64_t taps() const { return rows * cols * channels; }

    Patches patches() const {
        const auto i = [](int64_t x) { return int32_t(x); };
        return {i(height),      i(width),  i(channels), i(rows), i(cols), i(out_height()),
                i(out_width()), i(stride), i(stride),   i(top),  i(left)};
    }
    // Maps of values, or of bits in rows of words, as the left operand.
    Left maps(const void* values, const uint32_t* bits) const {
        return operand(values, bits, width * channels, patches());
    }

    // The transposed convolution takes blocks of pixels: as many side by side as cost least, counting the panel's
    // columns that an entry of the left operand is multiplied with.
    int64_t block() const {
        int64_t best = 1;
        const auto cost = [&](int64_t b) { return double(turned_cols(b) * panels(b * channels)) / double(b); };
        for (int64_t b = 2; b <= width; ++b)
            if (width % b == 0 && cost(b) < cost(best)) best = b;
        return best;
    }
    int64_t turned_cols(int64_t block) const {
        return block == width ? (out_width() - 1) * stride + 1 : block + cols - 1;
    }
    int64_t turned_depth(int64_t block) const { return rows * turned_cols(block) * filters; }
    Patches turned_patches(int64_t block) const {
        const auto i = [](int64_t x) { return int32_t(x); };
        return {i(out_height()),
                i(out_width()),
                i(filters),
                i(rows),
                i(turned_cols(block)),
                i(height),
                i(width / block),
                1,
                i(block),
                i(rows - 1 - top),
                i(block == width ? 0 : cols - 1 - left),
                i(stride)};
    }
    Left turned_maps(const void* values, const uint32_t* bits, int64_t block) const {
        return operand(values, bits, out_width() * filters, turned_patches(block));
    }
    TurnFilters turn(const void* src, void* dst, int64_t block, DType dtype, DType format) const {
        return {filters, rows,  cols,  channels, src, turned_cols(block), block, block == width ? left : cols - 1,
                dst,     dtype, format};
    }

  private:
    static Left operand(const void* values, const uint32_t* bits, int64_t line, const Patches& patches) {
        Left a{values, bits ? bit_words(line) : line, 1};
        a.bits = bits;
        a.patches = patches;
        return a;
    }
};

}  // namespace unsupfast
