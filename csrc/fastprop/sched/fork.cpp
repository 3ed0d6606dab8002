#include "fastprop/sched/fork.hpp"

#include <pthread.h>

#include "fastprop/sched/assist.hpp"

namespace fastprop {

namespace {

std::atomic<std::uint64_t> g_generation{0};

void count_fork() {
  g_generation.fetch_add(1, std::memory_order_relaxed);
  Assist::forget();
}

}  // namespace

std::uint64_t fork_generation() noexcept {
  static const int registered = pthread_atfork(nullptr, nullptr, count_fork);
  (void)registered;
  return g_generation.load(std::memory_order_relaxed);
}

ForkSafeMutex::Slot* ForkSafeMutex::slot() {
  const std::uint64_t generation = fork_generation();
  Slot* current = slot_.load(std::memory_order_acquire);
  while (current == nullptr || current->generation != generation) {
    Slot* fresh = new Slot{generation, {}};
    // The parent's slot may be locked by a thread that no longer exists: it is left as it is.
    if (slot_.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) return fresh;
    delete fresh;
  }
  return current;
}

ForkSafeMutex::~ForkSafeMutex() {
  Slot* current = slot_.load(std::memory_order_acquire);
  if (current != nullptr && current->generation == fork_generation()) delete current;
}

void ForkSafeMutex::lock() { slot()->mutex.lock(); }

void ForkSafeMutex::unlock() { slot()->mutex.unlock(); }

}  // namespace fastprop
