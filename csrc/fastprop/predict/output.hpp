// Where the scores of a tile go: whole, into the caller's matrix, or through a selection or a
// function of the caller's while the tile is in cache. Memory belongs to the caller; rows of
// different tiles never overlap.
#pragma once

#include <cstddef>
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

// A function of the caller's. It is given `n_rows` rows of `n_labels` scores and writes as many
// rows of its own, or, where it works in place, changes the scores and is given no `out`. Strides
// are in elements. It runs on several threads at once, knows nothing of Python, and answers 0 for
// success.
using PostprocessFunction = std::int32_t (*)(float* scores, std::int64_t n_rows,
                                             std::int64_t n_labels, std::int64_t scores_stride,
                                             void* out, std::int64_t out_stride, void* data);

struct PostprocessOutput {
  PostprocessFunction function = nullptr;
  void* data = nullptr;   // handed to it
  bool in_place = false;  // `out` then holds the scores, which are float32
  std::byte* out = nullptr;
  std::int64_t stride = 0;     // elements
  std::size_t element = 0;     // bytes
  std::int64_t first_row = 0;  // the caller's number of row 0, for messages
};

using Output = std::variant<ScoreOutput, TopKOutput, PostprocessOutput>;

// Delivers `n_rows` rows of `width` scores, `stride` apart, as rows [first, first + n_rows).
// `pool` lends the scratch of a selection. A function of the caller's may change `scores`. Throws
// kInvalidInput where it answers that it has failed.
void deliver(const Output& output, const kernels::Kernels& table, BufferPool& pool,
             std::int64_t first, std::int64_t n_rows, float* scores, std::int64_t stride,
             std::int64_t width);

}  // namespace fastprop
