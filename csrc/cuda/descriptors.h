// How wgmma is told where its operands lie in shared memory (PTX ISA, "Matrix Descriptor Format"): the address and
// two distances in units of 16 bytes, and the swizzle.
#pragma once
#include <cstdint>

#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

// Rows are 64 bytes with the 64-byte swizzle, eight rows after 512 bytes. `repeat`: the distance of the next 32
// columns where rows run along k, else of no meaning.
USF_MAP uint64_t operand(uint32_t address, uint32_t repeat = 16) {
    constexpr uint64_t kSwizzle64 = 2;
    return uint64_t(address >> 4 & 0x3fff) | uint64_t(repeat >> 4) << 16 | uint64_t(512 >> 4) << 32 | kSwizzle64 << 62;
}

// Core matrices of 8 columns x 8 k, 128 contiguous bytes, a row of 16 bytes a column; the two along k are neighbours,
// then come the next eight columns.
USF_MAP uint64_t tile_descriptor(uint32_t address) {
    constexpr uint64_t kAlongK = 128, kAlongColumns = 256;
    return (address & 0x3ffffu) >> 4 | kAlongK >> 4 << 16 | kAlongColumns >> 4 << 32;
}

}  // namespace unsupfast::cuda
