// Where the scores of a tile go: whole, into the caller's matrix, or through a selection while the
// tile is in cache. Memory belongs to the caller; rows of different tiles never overlap.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "fastprop/kernels/kernels.hpp"
#include "fastprop/memory/buffer_pool.hpp"

namespace fastprop {

struct ScoreOutput {
  float* data = nullptr;
  std::int64_t stride = 0;
};

struct TopKOutput {
  kernels::TopKRule rule;
  float* scores = nullptr;          // rule.k per row; NaN where fewer were selected
  std::int32_t* indices = nullptr;  // rule.k per row; -1 where fewer were selected
};

using Output = std::variant<ScoreOutput, TopKOutput>;

// Delivers `n_rows` rows of `width` scores, `stride` apart, as rows [first, first + n_rows).
// `pool` lends the scratch of a selection.
void deliver(const Output& output, const kernels::Kernels& table, BufferPool& pool,
             std::int64_t first, std::int64_t n_rows, const float* scores, std::int64_t stride,
             std::int64_t width);

}  // namespace fastprop
