// Kernels on the simulated GPU: done at once, or later where a graph is recorded.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

namespace unsupfast::cuda {

void simulate(int device, std::function<void()> work);

// Parameters of a kernel that is done later, with the lists on the CPU that they point to.
template <class P>
class Kept {
  public:
    explicit Kept(const P& given) : p(given) {
        if constexpr (requires { p.products; }) keep(p.products, p.count);
        if constexpr (requires { p.step.slices; }) keep(p.step.slices, p.step.count);
        if constexpr (requires { p.slices; }) {
            if constexpr (std::is_pointer_v<decltype(p.slices)>) keep(p.slices, p.count);
        }
    }
    P p;

  private:
    template <class E>
    void keep(const E*& list, int64_t n) {
        auto copy = std::make_shared<std::vector<E>>(list, list + n);
        list = copy->data();
        lists_.push_back(std::move(copy));
    }
    std::vector<std::shared_ptr<void>> lists_;
};

}  // namespace unsupfast::cuda
