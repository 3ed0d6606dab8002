// The seam between the predictor and what runs a model. An Engine is immutable and shared by all
// workers; each worker opens a Session of its own, which keeps that worker's scratch.
// Sessions are opened, run and destroyed on their worker's thread, unless the engine says that any
// thread will do. Errors are thrown as Error.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fastprop/memory/buffer_pool.hpp"
#include "fastprop/predict/output.hpp"
#include "fastprop/views.hpp"

namespace fastprop {

// Rows [first, first + n_rows) of a request.
struct Tile {
  const RowsView& rows;
  const std::vector<DenseView>& further;  // the further inputs, in the engine's order
  std::int64_t first;
  std::int64_t n_rows;
  bool may_be_helped = false;  // by a worker that has nothing to do, see Assist
};

// What one session has done; read by others while it runs.
struct SessionCounters {
  std::atomic<std::uint64_t> rows{0};
  std::atomic<std::uint64_t> tiles{0};
  std::atomic<std::uint64_t> bytes_copied{0};
  std::atomic<std::uint64_t> check_ns{0};
  std::atomic<std::uint64_t> fill_ns{0};  // into the engine's own arrays
  std::atomic<std::uint64_t> sparse_ns{0};
  std::atomic<std::uint64_t> graph_ns{0};
  std::atomic<std::uint64_t> deliver_ns{0};
};

class Session {
 public:
  virtual ~Session() = default;
  // Scores a tile, whose size is one that the engine's `tile_rows` gives, and delivers its scores
  // as the same rows of `output`.
  virtual void run(const Tile& tile, const Output& output, SessionCounters& counters) = 0;
  // Does ahead of time what the first tiles of the smallest and the largest size would do.
  virtual void warm_up() = 0;
};

struct RowsSpec {
  bool sparse = true;
  std::int64_t n_columns = 0;
};

// A further input, by the name that messages use.
struct FurtherSpec {
  std::string name;
  std::int64_t width = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<Session> open_session(std::int64_t batch_size,
                                                std::shared_ptr<BufferPool> pool) = 0;
  // Whether a session may be used by any thread, one at a time.
  virtual bool runs_anywhere() const { return false; }
  // Most rows of a tile of a request. Where a row's bits depend on its tile, a function of the rows
  // and the batch size alone, so that they do not depend on the number of threads.
  virtual std::int64_t tile_rows(std::int64_t /*n_rows*/, std::int64_t batch_size,
                                 std::int64_t /*threads*/) const {
    return batch_size;
  }
  virtual RowsSpec rows() const = 0;
  virtual const std::vector<FurtherSpec>& further() const = 0;
  virtual std::int64_t n_scores() const = 0;  // columns of the score matrix
};

}  // namespace fastprop
