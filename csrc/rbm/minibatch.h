// The visible states of one mini-batch: rows [0, B) are data, rows [B, B + C) the model's, so that one product
// over both gives the contrast. Kept as bits while all data are 0 or 1 (the model's samples are); otherwise as
// values, or (on the CPU) as CSR where the data are. Samples of units other than binary ones are values, and so are
// their data.
#pragma once
#include <algorithm>
#include <vector>

#include "array.h"
#include "kernels/batch/op.h"
#include "kernels/elementwise/op.h"
#include "kernels/layout/op.h"
#include "rbm/rbm.h"
#include "registry.h"

namespace unsupfast {

template <class T>
class Minibatch {
  public:
    // offset and scale: of TrainOptions.
    Minibatch(const Layer& layer, int64_t max_rows, DType dtype, Device device, const std::vector<double>& offset = {},
              const std::vector<double>& scale = {})
        : visibles_(layer.size()),
          words_(bit_words(visibles_)),
          max_rows_(max_rows),
          binary_units_(layer.binary()),
          dtype_(dtype),
          device_(device) {
        if (binary_units_) bits_ = words(max_rows * words_, device);
        if (!binary_units_ || device.is_gpu()) dense_ = Array(dtype, max_rows * visibles_, device);
        if (offset.empty()) return;
        offset_ = in_dtype(offset, dtype, device);
        scale_ = in_dtype(scale, dtype, device);
    }

    // The rows and their order lie on the machine's device.
    void gather(const Rows& rows, const int64_t* order, int64_t count) {
        count_ = count;
        if (device_.is_gpu()) return gather_on_gpu(rows, order);
        if (binary_units_ && gather_bits(rows, order)) {
            form_ = Form::bits;
        } else if (binary_units_ && rows.indptr) {
            form_ = Form::csr;
            indptr_.assign(1, 0);
            indices_.clear();
            values_.clear();
            for (int64_t b = 0; b < count; ++b) add_csr(rows, order[b]);
        } else {
            form_ = Form::dense;
            dense_.reserve(dtype_, max_rows_ * visibles_);
            for (int64_t b = 0; b < count; ++b) copy_row(rows, order[b], dense_.as<T>() + b * visibles_);
            standardise();
        }
    }

    // More rows before the model's, in each of which one unit is on: `n` from `first` on. Not of binary layers.
    void add_units(int64_t first, int64_t n) {
        std::vector<T> rows(size_t(n * visibles_));
        for (int64_t i = 0; i < n; ++i) rows[size_t(i * visibles_ + first + i)] = T(1);
        copy_memory(device_, dense_.as<T>() + count_ * visibles_, {}, rows.data(), rows.size() * sizeof(T));
        count_ += n;
    }

    Left data() const { return all(); }  // its first rows
    bool is_bits() const { return form_ == Form::bits; }

    // Where the last half-step of the model leaves its states, and the earlier ones theirs.
    Outputs model(bool last) {
        Outputs out;
        if (binary_units_) out.bits = bits(count_);
        if (!binary_units_ || (last && form_ == Form::dense)) out.sample = dense_.as<T>() + count_ * visibles_;
        return out;
    }
    // The model's states are rows of `states` from `first` on, drawn elsewhere.
    void set_model(const States& states, int64_t first, int64_t count) {
        T* values = dense_.as<T>() + count_ * visibles_;
        if (!binary_units_) {
            copy_memory(device_, values, device_, states.values(first), size_t(count * visibles_) * sizeof(T));
            return;
        }
        copy_memory(device_, bits(count_), device_, states.bits(first), size_t(count * words_) * sizeof(uint32_t));
        if (form_ == Form::dense) run(UnpackBits{count, visibles_, bits(count_), values, dtype_}, device_);
    }
    Left model_states() const {
        return binary_units_ ? bit_rows(bits(count_), visibles_)
                             : Left{dense_.as<T>() + count_ * visibles_, visibles_, 1};
    }

    // Call once the model's `count` states are there: all rows, and all rows transposed.
    void finish(int64_t count) {
        const int64_t all_rows = count_ + count;
        if (form_ == Form::bits) {
            turned_bits_.reserve(DType::f32, visibles_ * bit_words(all_rows), device_);
            run(TurnBits{all_rows, visibles_, bits(0), turned_bits_.as<uint32_t>()}, device_);
            turned_ = bit_rows(turned_bits_.as<uint32_t>(), all_rows);
        } else if (form_ == Form::csr) {
            for (int64_t b = count_; b < all_rows; ++b) add_bits(bits(b));
            turn_csr();
            turned_ = {turned_values_.data(), 0, 1, turned_indptr_.data(), turned_indices_.data()};
        } else {
            turned_ = {dense_.as<T>(), 1, visibles_};
        }
    }
    Left all() const {
        if (form_ == Form::bits) return bit_rows(bits(0), visibles_);
        if (form_ == Form::csr) return {values_.data(), 0, 1, indptr_.data(), indices_.data()};
        return {dense_.as<T>(), visibles_, 1};
    }
    const Left& turned() const { return turned_; }
    const T* values() const { return dense_.as<T>(); }  // of units that are not binary

  private:
    enum class Form { bits, csr, dense };

    uint32_t* bits(int64_t row) const { return bits_.as<uint32_t>() + row * words_; }

    // Without looking back: that rows are 0 or 1 is known beforehand.
    void gather_on_gpu(const Rows& rows, const int64_t* order) {
        form_ = binary_units_ && rows.zero_one ? Form::bits : Form::dense;
        Left x = rows.left();
        if (rows.indptr || form_ == Form::dense) {
            run(TakeRows{count_, visibles_, x, order, dense_.data(), nullptr, Corruption::none, 0, {}, dtype_},
                device_);
            x = {dense_.data(), visibles_, 1};
            order = nullptr;
            standardise();
        }
        if (form_ == Form::bits)
            run(PackBits{count_, visibles_, x.data, x.row_stride, order, bits(0), nullptr, dtype_}, device_);
    }

    void standardise() {
        if (!offset_) return;
        Elementwise p{};
        p.extent[0] = p.extent[1] = 1;
        p.extent[2] = count_;
        p.extent[3] = visibles_;
        p.a = p.y = dense_.data();
        p.a_stride[2] = visibles_;
        p.a_stride[3] = p.b_stride[3] = 1;
        p.dtype = dtype_;
        p.f = Elementary::sub;
        p.b = offset_.data();
        run(p, device_);
        p.f = Elementary::div;
        p.b = scale_.data();
        run(p, device_);
    }

    // False if a value is neither 0 nor 1.
    bool gather_bits(const Rows& rows, const int64_t* order) {
        if (!rows.indptr) {
            int32_t other = 0;
            run(PackBits{count_, visibles_, rows.data, rows.row_stride, order, bits(0), &other, dtype_});
            return !other;
        }
        std::fill_n(bits(0), count_ * words_, 0u);
        for (int64_t b = 0; b < count_; ++b)
            for (int64_t e = rows.indptr[order[b]]; e < rows.indptr[order[b] + 1]; ++e) {
                const T x = static_cast<const T*>(rows.data)[e];
                if (x != T(0) && x != T(1)) return false;
                bits(b)[rows.indices[e] / 32] |= uint32_t(x != T(0)) << rows.indices[e] % 32;
            }
        return true;
    }
    void copy_row(const Rows& rows, int64_t row, T* to) const {
        const T* data = static_cast<const T*>(rows.data);
        if (!rows.indptr) {
            std::copy_n(data + row * rows.row_stride, visibles_, to);
            return;
        }
        std::fill_n(to, visibles_, T(0));
        for (int64_t e = rows.indptr[row]; e < rows.indptr[row + 1]; ++e) to[rows.indices[e]] = data[e];
    }
    void add_csr(const Rows& rows, int64_t row) {
        const int64_t begin = rows.indptr[row], end = rows.indptr[row + 1];
        indices_.insert(indices_.end(), rows.indices + begin, rows.indices + end);
        values_.insert(values_.end(), static_cast<const T*>(rows.data) + begin, static_cast<const T*>(rows.data) + end);
        indptr_.push_back(int64_t(indices_.size()));
    }
    void add_bits(const uint32_t* row) {
        for (int64_t w = 0; w < words_; ++w)
            for (uint32_t m = row[w]; m; m &= m - 1) indices_.push_back(int32_t(w * 32 + __builtin_ctz(m)));
        values_.resize(indices_.size(), T(1));
        indptr_.push_back(int64_t(indices_.size()));
    }
    void turn_csr() {
        turned_indptr_.assign(size_t(visibles_) + 1, 0);
        turned_indices_.resize(indices_.size());
        turned_values_.resize(values_.size());
        for (int32_t j : indices_) ++turned_indptr_[size_t(j) + 1];
        for (int64_t j = 0; j < visibles_; ++j) turned_indptr_[size_t(j) + 1] += turned_indptr_[size_t(j)];
        std::vector<int64_t> next(turned_indptr_.begin(), turned_indptr_.end() - 1);
        for (size_t i = 0; i + 1 < indptr_.size(); ++i)
            for (int64_t e = indptr_[i]; e < indptr_[i + 1]; ++e) {
                const int64_t at = next[size_t(indices_[size_t(e)])]++;
                turned_indices_[size_t(at)] = int32_t(i);
                turned_values_[size_t(at)] = values_[size_t(e)];
            }
    }

    const int64_t visibles_, words_, max_rows_;
    const bool binary_units_;
    const DType dtype_;
    const Device device_;
    int64_t count_ = 0;
    Form form_ = Form::dense;
    Array bits_, turned_bits_;  // 32-bit words
    Array dense_;
    Array offset_, scale_;  // a number a visible unit; empty: 0 and 1
    std::vector<int64_t> indptr_, turned_indptr_;
    std::vector<int32_t> indices_, turned_indices_;
    std::vector<T> values_, turned_values_;
    Left turned_;
};

}  // namespace unsupfast
