// What survives a fork and what does not. Threads and locks of the parent are dead in the child;
// everything that holds either compares its generation and starts anew when the number has moved.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace fastprop {

// Number of forks between the first process and this one. Cheap: no system call.
std::uint64_t fork_generation() noexcept;

// A mutex that is free again in a forked child, whatever the parent's threads held.
class ForkSafeMutex {
 public:
  ForkSafeMutex() = default;
  ForkSafeMutex(const ForkSafeMutex&) = delete;
  ForkSafeMutex& operator=(const ForkSafeMutex&) = delete;
  ~ForkSafeMutex();

  void lock();
  void unlock();

 private:
  struct Slot {
    std::uint64_t generation;
    std::mutex mutex;
  };
  Slot* slot();
  std::atomic<Slot*> slot_{nullptr};
};

}  // namespace fastprop
