// The engine that runs chains of layers (sparse, dense, dense, ...) in our own kernels, without
// MXNet. Dense weights are packed once, when the engine is made; the sparse layer's weight is
// borrowed and kept alive by `owner`. Sessions keep two scratch buffers from the pool.
#pragma once

#include <memory>
#include <vector>

#include "fastprop/predict/engine.hpp"

namespace fastprop {

struct NativeLayer {
  const float* weight = nullptr;  // row-major, outputs x inputs; read while the engine is made
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  const float* bias = nullptr;  // borrowed; nullptr: zero
  kernels::Activation activation;
};

struct NativeSpec {
  kernels::SparseLayer sparse_layer;
  std::int64_t n_features = 0;
  std::vector<NativeLayer> layers;
  // Columns of the last layer that are normalised together: group g is [offsets[g],
  // offsets[g + 1]). Empty: no softmax.
  std::vector<std::int32_t> softmax_offsets;
  kernels::WeightType weight_type = kernels::WeightType::kFloat32;
  kernels::Isa isa = kernels::Isa::kScalar;
  std::shared_ptr<const void> owner;
};

class NativeEngine : public Engine, public std::enable_shared_from_this<NativeEngine> {
 public:
  // Packs the layers. Throws kModelFormat where their widths do not fit together, kPoolLimit where
  // memory is short.
  static std::shared_ptr<NativeEngine> create(NativeSpec spec);

  std::unique_ptr<Session> open_session(std::int64_t max_rows,
                                        std::shared_ptr<BufferPool> pool) override;
  bool runs_anywhere() const override { return true; }
  std::int64_t tile_rows(std::int64_t n_rows, std::int64_t batch_size) const override;
  RowsSpec rows() const override { return {true, spec_.n_features}; }
  const std::vector<FurtherSpec>& further() const override { return further_; }
  std::int64_t n_scores() const override;

 private:
  friend class NativeSession;
  struct FreePanels {
    void operator()(void* panels) const noexcept;
  };

  explicit NativeEngine(NativeSpec spec) : spec_(std::move(spec)) {}
  void pack();

  NativeSpec spec_;
  std::vector<FurtherSpec> further_;  // none
  std::vector<std::unique_ptr<void, FreePanels>> panels_;
  std::vector<kernels::DenseLayer> dense_;
};

}  // namespace fastprop
