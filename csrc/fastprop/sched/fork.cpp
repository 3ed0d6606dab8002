#include "fastprop/sched/fork.hpp"

#include <pthread.h>

#include <thread>

#include "fastprop/sched/assist.hpp"

namespace fastprop {

namespace {

std::atomic<std::uint64_t> g_generation{0};

void count_fork() {
  g_generation.fetch_add(1, std::memory_order_relaxed);
  Assist::forget();
}

// Plain numbers, which a child can set whatever the parent's threads were doing with them.
std::atomic<int> g_calls{0};  // threads that are in one
std::atomic<int> g_forks{0};  // that are about to happen
thread_local int t_calls = 0;

constexpr std::chrono::microseconds kPause{20};

int calls_of_this_thread() { return t_calls != 0 ? 1 : 0; }

void await_calls() {
  g_forks.fetch_add(1);
  const auto end = std::chrono::steady_clock::now() + ForeignCall::kLongestWait;
  while (g_calls.load() > calls_of_this_thread() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kPause);
  }
}

void go_on_in_parent() { g_forks.fetch_sub(1); }

void go_on_in_child() {
  g_calls.store(calls_of_this_thread());
  g_forks.store(0);
}

}  // namespace

std::uint64_t fork_generation() noexcept {
  static const int registered = pthread_atfork(nullptr, nullptr, count_fork);
  (void)registered;
  return g_generation.load(std::memory_order_relaxed);
}

// Each side makes itself known before it looks at the other, and all in one order, so that at least
// one of them sees the other: a call that sees a fork steps back.
ForeignCall::ForeignCall() noexcept {
  if (t_calls++ != 0) return;
  g_calls.fetch_add(1);
  while (g_forks.load() != 0) {
    g_calls.fetch_sub(1);
    while (g_forks.load() != 0) std::this_thread::sleep_for(kPause);
    g_calls.fetch_add(1);
  }
}

ForeignCall::~ForeignCall() {
  if (--t_calls == 0) g_calls.fetch_sub(1);
}

void ForeignCall::hold_at_forks() noexcept {
  static const int registered = pthread_atfork(await_calls, go_on_in_parent, go_on_in_child);
  (void)registered;
}

}  // namespace fastprop
