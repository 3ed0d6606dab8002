// One step of a plan, made once and run on every tile. Immutable while it runs, and shared by all
// workers: what a tile needs beside the operands is leased from the pool.
#pragma once

#include <memory>
#include <vector>

#include "fastprop/memory/buffer_pool.hpp"
#include "fastprop/predict/plan.hpp"

namespace fastprop {

// Row 0 of an operand, for the rows of a tile.
struct Matrix {
  float* data = nullptr;
  std::int64_t stride = 0;

  float* row(std::int64_t i) const noexcept { return data + i * stride; }
};

struct ConstMatrix {
  const float* data = nullptr;
  std::int64_t stride = 0;

  const float* row(std::int64_t i) const noexcept { return data + i * stride; }
};

// Where everything is while one tile is run.
struct TileRun {
  const Tile& tile;
  const kernels::Kernels& kernels;
  BufferPool& pool;
  const std::vector<float*>& slots;
  SessionCounters& counters;
  Matrix scores;
  bool streams_scores = false;  // scores outgrow the nearer caches: write past them

  std::int64_t n_rows() const noexcept { return tile.n_rows; }
  ConstMatrix read(const Operand& operand) const;
  Matrix write(const Operand& operand) const;
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const TileRun& run) const = 0;
  // Whether its time is the sparse layer's.
  virtual bool is_sparse() const { return false; }
  // Multiply-adds that a row takes, about; 0 where they are few.
  virtual std::int64_t products() const { return 0; }
  // Called where no later step touches the scores.
  virtual void writes_scores_last() {}
};

// Checks the step against the plan, tensors included, so that running it touches nothing else.
// Throws kModelFormat naming the step.
std::unique_ptr<Step> make_step(const StepSpec& spec, const Plan& plan);

}  // namespace fastprop
