// Matrices of bits on any device, from and to Boolean arrays.
#pragma once
#include <algorithm>

#include "bind/common.h"

namespace unsupfast::bind {

// Words of bits on some device.
struct Bits {
    std::shared_ptr<void> memory;
    size_t bytes = 0;
    Device device;

    Bits() = default;
    Bits(int64_t rows, int64_t cols, Device on)
        : memory(memory_on(on, size_t(rows * bit_words(cols) + 1) * 4)),  // never null
          bytes(size_t(rows * bit_words(cols)) * 4),
          device(on) {
        clear_memory(device, memory.get(), bytes);
    }
    uint32_t* data() const { return static_cast<uint32_t*>(memory.get()); }
};

inline bool is_boolean(const AnyArray& a) { return a.dtype().num() == py::dtype::num_of<bool>(); }

inline Bits packed_bits(const AnyArray& a) {
    const int64_t rows = a.shape(0), cols = a.shape(1);
    std::vector<uint8_t> values(size_t(rows * cols));
    if (a.device().is_gpu()) {
        check(a.is_contiguous(), "a Boolean array on a GPU must be contiguous");
        copy_memory({}, values.data(), a.device(), a.data(), a.nbytes());
    } else {
        const auto plain = py::array_t<bool, py::array::c_style>::ensure(a.object());
        std::copy_n(plain.data(), rows * cols, values.data());
    }
    std::vector<uint32_t> words(size_t(rows * bit_words(cols)));
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
            words[size_t(i * bit_words(cols) + j / 32)] |= uint32_t(values[size_t(i * cols + j)]) << j % 32;
    Bits bits(rows, cols, a.device());
    copy_memory(bits.device, bits.data(), {}, words.data(), bits.bytes);
    return bits;
}

// On the CPU, wherever the bits are.
inline py::array unpacked_bits(const Bits& bits, int64_t rows, int64_t cols) {
    std::vector<uint32_t> words(size_t(rows * bit_words(cols)));
    copy_memory({}, words.data(), bits.device, bits.data(), bits.bytes);
    py::array_t<bool> a({rows, cols});
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
            a.mutable_data()[i * cols + j] = words[size_t(i * bit_words(cols) + j / 32)] >> j % 32 & 1u;
    return a;
}

}  // namespace unsupfast::bind
