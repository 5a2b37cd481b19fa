// What an update of a restricted machine and one of a link of a deep machine have in common.
#pragma once
#include <initializer_list>
#include <limits>
#include <vector>

#include "array.h"
#include "rbm/rbm.h"
#include "rbm/step.h"

namespace unsupfast {

// Bounds of the learned log variance: data are expected standardised or in [0, 1].
inline constexpr double kMinLogVariance = -7, kMaxLogVariance = 4;
inline constexpr double kNoBound = std::numeric_limits<double>::infinity();

// What the rows of a mini-batch weigh, those of the data first and then the model's.
class RowWeights {
  public:
    RowWeights(int64_t max_rows, DType dtype, Device device)
        : contrast(dtype, max_rows, device), share(dtype, max_rows, device) {}

    // Of B rows of data at `order` and C of the model. The contrast is summed unnormalised, which keeps sums over
    // unweighted binary units exact, and scaled by 1 / total where a gradient is finished. False if they weigh nothing.
    template <class T>
    bool set(const int64_t* order, const T* weight, int64_t B, int64_t C, const TrainOptions& o) {
        if (!weight && total == double(B) && known_ == C) return true;  // as in the batch before
        std::vector<T> own(static_cast<size_t>(B + C));
        T sum = 0;
        for (int64_t b = 0; b < B; ++b) sum += own[size_t(b)] = weight ? weight[order[b]] : T(1);
        total = double(sum);
        if (!(total > 0)) return false;
        for (int64_t c = 0; c < C; ++c)
            own[size_t(B + c)] = o.persistent ? -sum / T(o.balanced ? C : B) : -own[size_t(c)];
        copy_memory(contrast.device(), contrast.data(), {}, own.data(), size_t(B + C) * sizeof(T));
        for (int64_t b = 0; b < B; ++b) own[size_t(b)] /= sum;
        copy_memory(share.device(), share.data(), {}, own.data(), size_t(B) * sizeof(T));
        known_ = weight ? -1 : C;
        return true;
    }

    Array contrast, share;  // of all rows in the gradient; of the data's, adding up to 1
    double total = 0;       // of the data's rows

  private:
    int64_t known_ = -1;  // the C that `contrast` was last made for without sample weights
};

// Tells which tensor stopped being finite: kernels set its flag.
class Guard {
  public:
    Guard(std::initializer_list<const char*> tensors, Device device)
        : tensors_(tensors), flags_(words(int64_t(tensors.size()), device)) {}
    int32_t* flag(int tensor) const { return flags_.as<int32_t>() + tensor; }
    // The first one, or null. A GPU is asked now and then, and when training ends (`last`).
    const char* found(bool last) {
        if (flags_.device().is_gpu() && !last && ++unseen_ < kLook) return nullptr;
        unseen_ = 0;
        std::vector<int32_t> flags(tensors_.size());
        copy_memory({}, flags.data(), flags_.device(), flags_.data(), flags.size() * sizeof(int32_t));
        for (size_t i = 0; i < flags.size(); ++i)
            if (flags[i]) return tensors_[i];
        return nullptr;
    }

  private:
    std::vector<const char*> tensors_;
    Array flags_;
    int64_t unseen_ = 0;  // mini-batches since the last look
};

// The gradient of one machine, on its way from sums over rows to a step; see ContrastGradient and WeightUpdate.
struct Gradient {
    Gradient(const Rbm& r, const TrainOptions& o);

    // dv and dh, which hold sums over all rows weighted by contrast, become gradients, and all else that the step on
    // the weights needs is made. hidden_mean is that of the data's rows, of activities; null where offsets stay.
    void finish(Rbm& r, const TrainOptions& o, const void* hidden_mean, double total, bool first) const;
    // `visible` (turned), `hidden` and `contrast` are of `rows` rows.
    WeightUpdate on_weights(const Rbm& r, const TrainOptions& o, int64_t rows, const Left& visible, const void* hidden,
                            const void* contrast) const;
    // dz, once the weights made their step; `values` of the visible units.
    void add_variances(const Rbm& r, int64_t rows, const void* values, const void* contrast);

    Array dv, dh, dz;  // by visible biases, hidden biases and, where they are learned, log variances
    Array row_scale, row_dot, offset_shift, rank_right;
    Array turned_step;  // scratch of Rbm::follow_offsets
};

}  // namespace unsupfast
