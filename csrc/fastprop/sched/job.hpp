// A job: `n_items` independent pieces of work, claimed in order by the workers it was given to.
// The first exception is kept, the items not yet begun are skipped, and whoever waits gets it.
// Threads: any may wait or stop; each worker calls `work` with its own slot.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>

namespace fastprop {

class Job {
 public:
  using Task = std::function<void(int slot, std::int64_t item)>;

  Job(std::int64_t n_items, Task task);

  // Claims and runs items until none is left. Never throws.
  void work(int slot) noexcept;

  // True once every item has been run or skipped. Spins briefly before it sleeps.
  bool wait_for(std::chrono::microseconds time);
  bool done() const noexcept { return done_.load(std::memory_order_acquire); }

  // Items not yet begun are skipped; those running finish.
  void stop() noexcept { stopped_.store(true, std::memory_order_release); }
  bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }

  // After done(): throws the first error, if there was one.
  void rethrow() const;

 private:
  void finish() noexcept;

  const std::int64_t n_items_;
  Task task_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::int64_t> remaining_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  std::condition_variable finished_;
  std::exception_ptr error_;
};

}  // namespace fastprop
