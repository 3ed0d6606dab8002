// What survives a fork and what does not. Threads and locks of the parent are dead in the child;
// everything that holds either compares its generation and starts anew when the number has moved.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace fastprop {

// Number of forks between the first process and this one. Cheap: no system call.
std::uint64_t fork_generation() noexcept;

// A T of which every process has its own, made at first use there. What the parent had is left as
// it is in the child: a thread that no longer exists may have been changing it. Threads: any.
template <typename T>
class PerProcess {
 public:
  PerProcess() = default;
  PerProcess(const PerProcess&) = delete;
  PerProcess& operator=(const PerProcess&) = delete;
  ~PerProcess() {
    Slot* current = slot_.load(std::memory_order_acquire);
    if (current != nullptr && current->generation == fork_generation()) delete current;
  }

  T& get() {
    const std::uint64_t generation = fork_generation();
    Slot* current = slot_.load(std::memory_order_acquire);
    while (current == nullptr || current->generation != generation) {
      Slot* fresh = new Slot{generation, {}};
      if (slot_.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) {
        return fresh->value;
      }
      delete fresh;
    }
    return current->value;
  }

 private:
  struct Slot {
    std::uint64_t generation;
    T value;
  };
  std::atomic<Slot*> slot_{nullptr};
};

// A mutex that is free again in a forked child, whatever the parent's threads held.
class ForkSafeMutex {
 public:
  void lock() { mutex_.get().lock(); }
  void unlock() { mutex_.get().unlock(); }

 private:
  PerProcess<std::mutex> mutex_;
};

// While it lives, this thread is in a call of a library that has locks of its own. A child that
// found one held would wait for ever, so a fork waits until no such call is under way, and new ones
// wait for the fork. Calls must not need what a thread that forks may hold, such as Python's lock;
// a fork waits for them no longer than `kLongestWait`. There may be calls within calls.
class ForeignCall {
 public:
  static constexpr std::chrono::seconds kLongestWait{30};

  ForeignCall() noexcept;
  ~ForeignCall();
  ForeignCall(const ForeignCall&) = delete;
  ForeignCall& operator=(const ForeignCall&) = delete;

  // Lets forks wait, from the first use on. Before a fork the handler registered last runs first:
  // a library that stops its threads in one of its own is to be loaded by then, since calls that
  // are under way may need those threads to end.
  static void hold_at_forks() noexcept;
};

}  // namespace fastprop
