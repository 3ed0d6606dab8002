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

}  // namespace fastprop
