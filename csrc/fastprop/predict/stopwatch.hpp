// Adds the time of a scope to a counter.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace fastprop {

class Stopwatch {
 public:
  explicit Stopwatch(std::atomic<std::uint64_t>& total) noexcept
      : total_(total), begin_(std::chrono::steady_clock::now()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    const auto time = std::chrono::steady_clock::now() - begin_;
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    total_.fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t>& total_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace fastprop
