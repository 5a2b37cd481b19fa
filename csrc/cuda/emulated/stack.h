// Stacks of their own, and going from one to another.
#pragma once
#include <cstddef>

namespace unsupfast::emulated {

class Stack {
  public:
    Stack();                          // the one that runs
    explicit Stack(void (*entry)());  // entry runs on it once it is switched to, and never returns
    ~Stack();
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;

    // Goes on there, from where it was left; returns once somebody switches back. Called on this stack.
    void switch_to(Stack& other);
    // What an entry does first.
    static void arrive();

  private:
    void* memory_ = nullptr;
    void* pointer_ = nullptr;
    // what sanitizers know of it
    const void* bottom_ = nullptr;
    size_t size_ = 0;
    void* fake_ = nullptr;
    void* seen_ = nullptr;
};

}  // namespace unsupfast::emulated
