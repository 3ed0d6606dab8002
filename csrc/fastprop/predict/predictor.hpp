// Splits requests into tiles, checks them, and has the workers score them. Owns the buffer pool,
// the sessions and the counters. Thread-safe: any number of callers may start requests at once.
// Tile bounds depend on the row count and the batch size only, so that results do not depend on
// the number of threads. In a forked child sessions and pool are made anew at first use.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "fastprop/memory/buffer_pool.hpp"
#include "fastprop/predict/check.hpp"
#include "fastprop/predict/engine.hpp"
#include "fastprop/sched/job.hpp"

namespace fastprop {

struct PredictorOptions {
  int threads = 1;
  std::int64_t batch_size = 512;
  std::uint64_t pool_limit = 0;  // bytes; 0 = no cap
  bool finite = true;            // refuse NaN and infinity in the input
  kernels::Isa isa = kernels::Isa::kScalar;
};

struct Request {
  RowsView rows;
  std::vector<DenseView> further;
  Output output;
  std::int64_t first_row = 0;  // the caller's number of row 0, for messages
};

// A request under way. A small one is left to whoever waits for it, where the engine allows that:
// `wait_slot` is then what to call Job::work with, and nobody else runs the job.
struct Started {
  std::shared_ptr<Job> job;
  int wait_slot = -1;
};

struct PredictorStats {
  std::uint64_t calls = 0;
  std::uint64_t rows = 0;
  std::uint64_t tiles = 0;
  std::uint64_t bytes_copied = 0;
  double check_seconds = 0;  // the seconds are summed over workers
  double fill_seconds = 0;
  double sparse_seconds = 0;
  double graph_seconds = 0;
  double deliver_seconds = 0;
  PoolStats pool;
};

class Predictor {
 public:
  Predictor(std::shared_ptr<Engine> engine, PredictorOptions options);
  ~Predictor();
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;

  // Returns at once; the views must stay alive until the job is done. Shapes are checked here;
  // bad elements become the job's error before any output is written.
  Started start(Request request);

  // Only checks the rows and further inputs; the output is not looked at.
  Started start_check(Request request);

  // Opens every worker's session and binds its graph. As a job like any other.
  std::shared_ptr<Job> start_warm_up();

  Lease lease(std::size_t bytes);
  PredictorStats stats() const;
  // Refuses further requests; those that run end as usual and release what they hold.
  void close() noexcept { closed_.store(true, std::memory_order_release); }
  bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  void release();  // after close(), once no job runs: frees sessions and pool

  const PredictorOptions& options() const noexcept { return options_; }
  const Engine& engine() const noexcept { return *engine_; }

 private:
  struct State;

  std::shared_ptr<State> state() const;
  void check_shapes(const Request& request) const;

  std::shared_ptr<Engine> engine_;
  PredictorOptions options_;
  std::atomic<bool> closed_{false};
  mutable ForkSafeMutex mutex_;
  mutable std::shared_ptr<State> state_;
};

}  // namespace fastprop
