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

// values (count x n, dtype) = rows of bits
void unpack_bits(const uint32_t* bits, int64_t count, int64_t n, void* values, DType dtype);

// States of a layer in `count` rows: bits where it is binary, else values.
class States {
  public:
    States() = default;
    States(const Layer& layer, int64_t count, DType dtype) : count_(count), n_(layer.size()), dtype_(dtype) {
        if (layer.binary())
            bits_.resize(size_t(count * bit_words(n_)) + 1);  // never empty
        else
            values_ = Array(dtype, count * n_);
    }
    int64_t count() const { return count_; }
    bool binary() const { return !bits_.empty(); }
    // The rows from `first` on, and where a half-step leaves samples of them.
    Left left(int64_t first = 0) const {
        return binary() ? bit_rows(bits_.data() + first * bit_words(n_), n_) : Left{value_row(first), n_, 1};
    }
    Outputs samples(int64_t first = 0) {
        return binary() ? Outputs{nullptr, nullptr, bits_.data() + first * bit_words(n_)}
                        : Outputs{nullptr, value_row(first)};
    }
    // Row `first` as bits, or null.
    const uint32_t* bits(int64_t first = 0) const { return binary() ? bits_.data() + first * bit_words(n_) : nullptr; }
    void swap_rows(int64_t i, int64_t j) {
        if (binary()) {
            std::swap_ranges(bits_.begin() + i * bit_words(n_), bits_.begin() + (i + 1) * bit_words(n_),
                             bits_.begin() + j * bit_words(n_));
        } else {
            const size_t bytes = size_t(n_ * element_size(dtype_));
            std::vector<char> kept(bytes);
            std::memcpy(kept.data(), value_row(i), bytes);
            std::memcpy(value_row(i), value_row(j), bytes);
            std::memcpy(value_row(j), kept.data(), bytes);
        }
    }
    // False, and nothing changed, if values of a binary layer are neither 0 nor 1.
    bool set(const void* values) {
        if (!binary()) {
            std::memcpy(values_.data(), values, size_t(values_.size() * element_size(dtype_)));
            return true;
        }
        std::vector<uint32_t> packed(bits_.size());
        int32_t other = 0;
        run(PackBits{count_, n_, values, n_, nullptr, packed.data(), &other, dtype_});
        if (!other) bits_ = std::move(packed);
        return !other;
    }
    void get(void* values) const {
        if (binary())
            unpack_bits(bits_.data(), count_, n_, values, dtype_);
        else
            std::memcpy(values, values_.data(), size_t(values_.size() * element_size(dtype_)));
    }
    const void* values(int64_t first = 0) const { return value_row(first); }

  private:
    char* value_row(int64_t i) const { return values_.as<char>() + i * n_ * element_size(dtype_); }

    int64_t count_ = 0, n_ = 0;
    DType dtype_ = DType::f32;
    std::vector<uint32_t> bits_;
    Array values_;
};

}  // namespace unsupfast
