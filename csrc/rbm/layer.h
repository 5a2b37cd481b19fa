// A layer of units, and its states.
#pragma once
#include <algorithm>
#include <vector>

#include "array.h"
#include "kernels/layout/op.h"
#include "kernels/units/op.h"
#include "registry.h"

namespace unsupfast {

// Neighbouring units of one kind.
struct Segment {
    Unit unit;
    int64_t begin, end;
    int64_t group = 1;  // softmax: units of a group

    int64_t size() const { return end - begin; }
};

// Segments side by side.
struct Layer {
    std::vector<Segment> segments;

    int64_t size() const { return segments.back().end; }
    bool has(Unit unit) const {
        for (const Segment& s : segments)
            if (s.unit == unit) return true;
        return false;
    }
    // Whether states are 0 or 1, each by itself: what the fastest kernels are for.
    bool binary() const { return segments.size() == 1 && segments[0].unit == Unit::bernoulli; }
    bool gaussian() const { return segments.size() == 1 && segments[0].unit == Unit::gaussian; }
};

// What a half-step leaves behind; any may be null. log_partition is added to.
struct Outputs {
    void *mean = nullptr, *sample = nullptr;
    uint32_t* bits = nullptr;
    void* log_partition = nullptr;
};

// values (count x n, dtype) on the CPU = rows of bits
void unpack_bits(const uint32_t* bits, int64_t count, int64_t n, void* values, DType dtype, Device of_bits = {});

// 32-bit words, cleared; never empty.
inline Array words(int64_t count, Device device) { return Array(DType::f32, count + 1, device); }

// States of a layer in `count` rows: bits where it is binary, else values.
class States {
  public:
    States() = default;
    States(const Layer& layer, int64_t count, DType dtype, Device device = {})
        : count_(count), n_(layer.size()), binary_(layer.binary()), dtype_(dtype) {
        store_ = binary_ ? words(count * bit_words(n_), device) : Array(dtype, count * n_, device);
    }
    int64_t count() const { return count_; }
    // The rows from `first` on, and where a half-step leaves samples of them.
    Left left(int64_t first = 0) const { return binary_ ? bit_rows(bits(first), n_) : Left{values(first), n_, 1}; }
    Outputs samples(int64_t first = 0) {
        return binary_ ? Outputs{nullptr, nullptr, const_cast<uint32_t*>(bits(first))}
                       : Outputs{nullptr, const_cast<void*>(values(first))};
    }
    // Row `first` as bits, or null.
    const uint32_t* bits(int64_t first = 0) const {
        return binary_ ? store_.as<uint32_t>() + first * bit_words(n_) : nullptr;
    }
    const void* values(int64_t first = 0) const { return store_.as<char>() + first * row_bytes(); }
    // From values on the CPU. False, and nothing changed, if those of a binary layer are neither 0 nor 1.
    bool set(const void* values) {
        Array packed;
        if (binary_) {
            packed = words(count_ * bit_words(n_), {});
            int32_t other = 0;
            run(PackBits{count_, n_, values, n_, nullptr, packed.as<uint32_t>(), &other, dtype_});
            if (other) return false;
            values = packed.data();
        }
        copy_memory(store_.device(), store_.data(), {}, values, size_t(count_ * row_bytes()));
        return true;
    }
    void get(void* values) const {
        if (!binary_) return copy_memory({}, values, store_.device(), store_.data(), size_t(count_ * row_bytes()));
        unpack_bits(store_.as<uint32_t>(), count_, n_, values, dtype_, store_.device());
    }

  private:
    int64_t row_bytes() const { return binary_ ? bit_words(n_) * 4 : n_ * element_size(dtype_); }

    int64_t count_ = 0, n_ = 0;
    bool binary_ = false;
    DType dtype_ = DType::f32;
    Array store_;
};

}  // namespace unsupfast
