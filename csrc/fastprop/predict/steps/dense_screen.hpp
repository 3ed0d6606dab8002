// The memory of a layer's screen: a copy of its weights, and their upper halves in panels.
#pragma once

#include <memory>

#include "fastprop/kernels/kernels.hpp"

namespace fastprop {

class DenseScreen {
 public:
  explicit DenseScreen(const kernels::DenseLayer& layer)
      : weight_(new float[layer.inputs * layer.outputs]),
        panels_(new Line[(kernels::packed_dense_bytes(kernels::WeightType::kBfloat16, layer.inputs,
                                                      layer.outputs) +
                          sizeof(Line) - 1) /
                         sizeof(Line)]),
        screen_(kernels::make_screen(layer, panels_.get(), weight_.get())) {}

  const kernels::DenseScreen& get() const { return screen_; }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };

  std::unique_ptr<float[]> weight_;
  std::unique_ptr<Line[]> panels_;
  kernels::DenseScreen screen_;
};

}  // namespace fastprop
