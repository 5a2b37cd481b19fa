#include "cuda/emulated/products.h"

#include "cuda/emulated/machine.h"
#include "kernels/gemm/ref.h"
#include "kernels/gemm/tiles.h"

namespace unsupfast::emulated {
namespace {

float value(const Block& block, uint64_t byte) {
    uint16_t bits;
    if (byte < kReserved || byte + 2 > kReserved + grid.shared) fail("wgmma reads outside shared memory");
    std::memcpy(&bits, block.shared + byte, 2);
    return ref::from_bf16(bits);
}

// Operands in shared memory (PTX ISA, "Asynchronous warpgroup level matrix shared memory layout"): element
// (row or column i, k) of the operand that this descriptor names. The swizzle permutes bits of the address.
struct Operand {
    uint64_t start, leading, stride;
    int swizzle;  // 0: none; 1, 2, 3: rows of 128, 64, 32 bytes
    explicit Operand(uint64_t d)
        : start((d & 0x3fff) << 4),
          leading((d >> 16 & 0x3fff) << 4),
          stride((d >> 32 & 0x3fff) << 4),
          swizzle(int(d >> 62)) {
        if (d >> 49 & 7) fail("wgmma: a descriptor with a base offset");
    }
    uint64_t row_bytes() const { return swizzle == 0 ? 16 : 256u >> swizzle; }
    uint64_t swizzled(uint64_t byte) const {
        return swizzle == 0 ? byte : byte ^ ((byte >> 7 & (row_bytes() / 16 - 1)) << 4);
    }
    // Rows of memory run along k, and eight of them make `stride` bytes.
    uint64_t along_k(int i, int k) const {
        const uint64_t chunk = uint64_t(k) / 8, in = uint64_t(k) % 8 * 2;
        return swizzled(start + uint64_t(i) / 8 * stride + uint64_t(i) % 8 * row_bytes() +
                        (swizzle == 0 ? chunk * leading : chunk * 16) + in);
    }
    // Rows of memory run along i; after a row's worth of them come the next `leading` bytes on.
    uint64_t along_i(int i, int k) const {
        if (swizzle == 0) fail("wgmma: an operand along its columns without a swizzle");
        const uint64_t byte = uint64_t(i) * 2;
        return swizzled(start + byte / row_bytes() * leading + byte % row_bytes() + uint64_t(k) / 8 * stride +
                        uint64_t(k) % 8 * row_bytes());
    }
};

constexpr int kThreads = 128, kRows = 64, kDepth = 16, kMostColumns = 256;

void multiply(const Block& block, const Product* const (&asked)[kThreads]) {
    const Product& p = *asked[0];
    float left[kRows][kDepth], right[kDepth][kMostColumns], sums[kRows][kMostColumns];
    const Operand a(p.a), b(p.b);
    for (int t = 0; t < kThreads; ++t) {
        const Product& q = *asked[t];
        if (q.columns != p.columns || q.a != p.a || q.b != p.b || q.a_in_registers != p.a_in_registers ||
            q.fresh != p.fresh || q.b_along_columns != p.b_along_columns)
            fail("threads of a warpgroup ask for different wgmma");
        const int lane = t % 32, row0 = t / 32 * 16;
        if (p.a_in_registers)
            for (int r = 0; r < 4; ++r)
                for (int j = 0; j < 2; ++j)
                    left[row0 + cuda::frag_row(lane, r % 2)][cuda::frag_word(lane, r / 2) * 2 + j] =
                        ref::from_bf16(uint16_t(q.fragment[r] >> 16 * j));
        for (int i = 0; i < p.columns / 2; ++i)
            sums[row0 + cuda::frag_row(lane, i / 2 % 2)][i / 4 * 8 + cuda::frag_column(lane, i % 2)] =
                p.fresh ? 0.f : q.sums[i];
    }
    if (!p.a_in_registers)
        for (int i = 0; i < kRows; ++i)
            for (int k = 0; k < kDepth; ++k) left[i][k] = value(block, a.along_k(i, k));
    for (int k = 0; k < kDepth; ++k)
        for (int j = 0; j < p.columns; ++j)
            right[k][j] = value(block, p.b_along_columns ? b.along_i(j, k) : b.along_k(j, k));
    for (int i = 0; i < kRows; ++i)
        for (int k = 0; k < kDepth; ++k) {
            const float x = left[i][k];
            for (int j = 0; j < p.columns; ++j) sums[i][j] += x * right[k][j];
        }
    for (int t = 0; t < kThreads; ++t)
        for (int i = 0; i < p.columns / 2; ++i)
            asked[t]->sums[i] =
                sums[t / 32 * 16 + cuda::frag_row(t % 32, i / 2 % 2)][i / 4 * 8 + cuda::frag_column(t % 32, i % 2)];
}

}  // namespace

void commit_products() { current->groups.push_back(current->products.size()); }

void finish_products(int left) {
    Block& block = *current->block;
    const int group = current->number / kThreads;
    meet<true>(block.groups[size_t(group)], kThreads, "wgmma.wait_group", [&] {
        Thread* const first = current - current->number % kThreads;
        const size_t groups = first->groups.size();
        const size_t done = groups > size_t(left) ? groups - size_t(left) : 0;
        const size_t products = done ? first->groups[done - 1] : 0;
        for (int t = 0; t < kThreads; ++t)
            if (first[t].groups != first->groups) fail("threads of a warpgroup commit different wgmma");
        for (size_t i = 0; i < products; ++i) {
            const Product* asked[kThreads];
            for (int t = 0; t < kThreads; ++t) asked[t] = &first[t].products[i];
            multiply(block, asked);
        }
        if (done == 0) return;
        for (int t = 0; t < kThreads; ++t) {
            Thread& thread = first[t];
            thread.products.erase(thread.products.begin(), thread.products.begin() + int64_t(products));
            thread.groups.erase(thread.groups.begin(), thread.groups.begin() + int64_t(done));
            for (size_t& end : thread.groups) end -= products;
        }
    });
}

}  // namespace unsupfast::emulated
