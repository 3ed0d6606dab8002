#include "fastprop/predict/output.hpp"

#include <cstring>
#include <string>

#include "fastprop/error.hpp"

namespace fastprop {

namespace {

void write_scores(const ScoreOutput& output, std::int64_t first, std::int64_t n_rows,
                  const float* scores, std::int64_t stride, std::int64_t width) {
  float* to = output.data + first * output.stride;
  if (scores == to) return;  // the engine has written there itself
  const auto row_bytes = static_cast<std::size_t>(width) * sizeof(float);
  if (stride == width && output.stride == width) {
    std::memcpy(to, scores, row_bytes * static_cast<std::size_t>(n_rows));
    return;
  }
  for (std::int64_t i = 0; i < n_rows; ++i) {
    std::memcpy(to + i * output.stride, scores + i * stride, row_bytes);
  }
}

void postprocess(const PostprocessOutput& output, std::int64_t first, std::int64_t n_rows,
                 float* scores, std::int64_t stride, std::int64_t width) {
  std::byte* out = output.out + static_cast<std::size_t>(first * output.stride) * output.element;
  std::int32_t status = 0;
  if (output.in_place) {
    float* rows = reinterpret_cast<float*>(out);
    write_scores({rows, output.stride}, 0, n_rows, scores, stride, width);
    status = output.function(rows, n_rows, width, output.stride, nullptr, 0, output.data);
  } else {
    status = output.function(scores, n_rows, width, stride, out, output.stride, output.data);
  }
  if (status != 0) {
    const std::int64_t row = output.first_row + first;
    throw Error(ErrorKind::kInvalidInput, "the post-processing function failed with status " +
                                              std::to_string(status) + " on the scores of rows " +
                                              std::to_string(row) + " to " +
                                              std::to_string(row + n_rows - 1));
  }
}

}  // namespace

void deliver(const Output& output, const kernels::Kernels& table, BufferPool& pool,
             std::int64_t first, std::int64_t n_rows, float* scores, std::int64_t stride,
             std::int64_t width) {
  if (const auto* whole = std::get_if<ScoreOutput>(&output)) {
    write_scores(*whole, first, n_rows, scores, stride, width);
    return;
  }
  if (const auto* function = std::get_if<PostprocessOutput>(&output)) {
    postprocess(*function, first, n_rows, scores, stride, width);
    return;
  }
  const auto& top = std::get<TopKOutput>(output);
  const auto k = static_cast<std::int64_t>(top.rule.k);
  const Lease keys = pool.lease(kernels::top_k_keys(top.rule.k) * sizeof(std::uint64_t));
  table.top_k(top.rule, scores, static_cast<std::size_t>(stride), static_cast<std::size_t>(n_rows),
              static_cast<std::size_t>(width), keys.as<std::uint64_t>(), top.scores + first * k,
              top.indices + first * k);
}

}  // namespace fastprop
