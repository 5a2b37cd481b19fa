// Rows of data on their way to a machine. Where it is on a GPU and they are not, those of a mini-batch travel while the
// GPU computes with those of the one before.
#pragma once
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "array.h"
#include "cuda/feed.h"
#include "kernels/batch/op.h"
#include "kernels/layout/op.h"
#include "rbm/rbm.h"
#include "registry.h"

namespace unsupfast {

class Source {
  public:
    // cols: of the rows. binary: whether it matters that they hold nothing but 0 and 1.
    Source(const Rows& rows, int64_t cols, DType dtype, Device device, bool binary)
        : rows_(rows), cols_(cols), dtype_(dtype), device_(device), binary_(binary) {
        if (rows.device.is_gpu() && rows.device != device)
            throw std::invalid_argument("X is on a GPU and the machine is not");
        if (travels()) feed_ = std::make_unique<cuda::Feed>(device.gpu);
        rows_.zero_one = device.is_gpu() && !travels() && zero_one(rows_);
    }
    Device device() const { return device_; }
    bool travels() const { return device_.is_gpu() && !rows_.device.is_gpu(); }
    const Rows& rows() const { return rows_; }

    // Rows `order` of data that travel, on the machine's device; good until it is asked again.
    Rows fetch(const int64_t* order, int64_t count) {
        gathered_.reserve(dtype_, count * cols_);
        run(TakeRows{count, cols_, rows_.left(), order, gathered_.data(), nullptr, Corruption::none, 0, {}, dtype_});
        Rows batch{count, gathered_.data(), cols_};
        batch.zero_one = zero_one(batch);
        arrived_ = feed_->put(batch.data, size_t(count * cols_ * element_size(dtype_)));
        batch.data = arrived_.get();
        batch.device = device_;
        return batch;
    }

  private:
    // Whether it matters and is so. Of data on a GPU this is asked once, of all rows.
    bool zero_one(const Rows& rows) const {
        if (!binary_) return false;
        constexpr int64_t kAtATime = 1 << 24;
        const Device at = rows.device;
        int64_t entries = rows.count * cols_;
        if (rows.indptr) copy_memory({}, &entries, at, rows.indptr + rows.count, sizeof entries);
        const Array bits = words(bit_words(std::min(entries, kAtATime)), at), flag = words(1, at);
        for (int64_t first = 0; first < entries; first += kAtATime) {
            const int64_t n = std::min(entries - first, kAtATime);
            const char* values = static_cast<const char*>(rows.data) + first * element_size(dtype_);
            run(PackBits{1, n, values, n, nullptr, bits.as<uint32_t>(), flag.as<int32_t>(), dtype_}, at);
        }
        int32_t other = 0;
        copy_memory({}, &other, at, flag.data(), sizeof other);
        return !other;
    }

    Rows rows_;
    const int64_t cols_;
    const DType dtype_;
    const Device device_;
    const bool binary_;
    std::unique_ptr<cuda::Feed> feed_;
    Array gathered_;                 // on the CPU
    std::shared_ptr<void> arrived_;  // on the GPU
};

}  // namespace unsupfast
