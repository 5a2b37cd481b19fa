// The mini-batches of one call of training, in their order. A GPU is told all of them beforehand, and an update that is
// like the one before is recorded once and done again, without a word from the CPU.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "array.h"
#include "cuda/runtime.h"
#include "rbm/source.h"

namespace unsupfast {

// Names draws: by the step alone or, in a recorded update, by a number in the GPU's memory, which stands at `now`
// while it is recorded.
struct Clock {
    const uint32_t* number = nullptr;
    uint32_t now = 0;

    Draw draw(uint64_t seed, uint64_t step, uint32_t stream) const {
        return {seed, uint32_t(step) - now, stream, 0, nullptr, number};
    }
};

// A mini-batch: rows where the machine is, and which of them (null: as they come).
struct Batch {
    Rows rows;
    const int64_t* at;
    const int64_t* order;  // their numbers among all rows of data, on the CPU
    int64_t count;
    Clock clock;
};

class Programme {
  public:
    // Rows `order` of the data in mini-batches of batch_size. steps: of the machine's that an update takes, where
    // updates are all alike and never ask the GPU for a number; else 0, and none is recorded. kinds: of updates, which
    // take turns and are recorded each.
    Programme(Source source, const int64_t* order, int64_t count, int64_t batch_size, int64_t steps, int kinds = 1)
        : source_(std::move(source)),
          order_(order),
          count_(count),
          size_(std::min(batch_size, std::max<int64_t>(count, 1))),
          steps_(steps),
          device_(source_.device()),
          graphs_(size_t(kinds)) {
        if (!device_.is_gpu() || source_.travels()) return;
        // a row each of a step's number and the mini-batch's rows
        std::vector<int64_t> table(size_t((count + size_ - 1) / size_ * width()));
        for (int64_t first = 0, row = 0; first < count; first += size_, row += width()) {
            table[size_t(row)] = first / size_ * steps;
            std::copy_n(order + first, std::min(size_, count - first), table.begin() + row + 1);
        }
        table_ = Array(DType::f64, int64_t(table.size()), device_);
        copy_memory(device_, table_.data(), {}, table.data(), table_.bytes());
        if (steps > 0 && cuda::can_record() && count >= 4 * size_) now_ = Array(DType::f64, width(), device_);
    }

    // `training` makes updates. Where it has something to do before one that can't be recorded, it has prepare().
    template <class Training>
    std::optional<Diverged> run(Training& training, const std::function<bool(int64_t)>& tick) {
        for (int64_t first = 0, number = 0; first < count_; first += size_, ++number) {
            const int64_t *order = order_ + first, *told = table_ ? table_.as<int64_t>() + number * width() : nullptr;
            const int64_t n = std::min(size_, count_ - first);
            const Batch batch = source_.travels() ? Batch{source_.fetch(order, n), nullptr, order, n, {}}
                                                  : Batch{source_.rows(), told ? told + 1 : order, order, n, {}};
            if constexpr (requires { training.prepare(batch); }) training.prepare(batch);
            if (now_ && first > 0 && batch.count == size_) {  // the first made all that is made once
                std::optional<cuda::Graph>& graph = graphs_[size_t(number) % graphs_.size()];
                copy_memory(device_, now_.data(), device_, told, now_.bytes());
                if (graph) {
                    training.count();
                } else {
                    graph.emplace(device_.gpu);
                    const Clock clock{now_.as<uint32_t>(), uint32_t(number * steps_)};  // the number's low word
                    training.update({source_.rows(), now_.as<int64_t>() + 1, order, size_, clock}, [] { return true; });
                    graph->finish();
                }
                graph->replay();
            } else if (!training.update(batch, [&] { return tick(first); })) {
                break;
            }
            const int64_t done = first + batch.count;
            if (const char* tensor = training.diverged(done == count_)) return Diverged{number, tensor};
            if (!tick(done)) break;
        }
        return std::nullopt;
    }

  private:
    int64_t width() const { return size_ + 1; }

    Source source_;
    const int64_t* order_;
    const int64_t count_, size_, steps_;
    const Device device_;
    std::vector<std::optional<cuda::Graph>> graphs_;  // of each kind of update
    Array table_, now_;  // 64-bit numbers: all rows, and the one under way where a recorded update looks for it
};

}  // namespace unsupfast
