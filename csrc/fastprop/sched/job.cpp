#include "fastprop/sched/job.hpp"

#include <algorithm>
#include <utility>

#include "fastprop/sched/spin.hpp"

namespace fastprop {

namespace {

constexpr std::chrono::microseconds kSpin{100};

}  // namespace

Job::Job(std::int64_t n_items, Task task)
    : n_items_(n_items), task_(std::move(task)), remaining_(n_items), done_(n_items == 0) {}

void Job::work(int slot) noexcept {
  for (;;) {
    const std::int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= n_items_) return;
    if (!stopped()) {
      try {
        task_(slot, item);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        stop();
      }
    }
    if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) finish();
  }
}

void Job::finish() noexcept {
  std::lock_guard lock(mutex_);
  done_.store(true, std::memory_order_release);
  finished_.notify_all();
}

bool Job::wait_for(std::chrono::microseconds time) {
  if (spin_until(std::min(time, kSpin), [this] { return done(); })) return true;
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, time, [this] { return done(); });
}

void Job::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

}  // namespace fastprop
