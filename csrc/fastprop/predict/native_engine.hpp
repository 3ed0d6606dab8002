// The engine that runs a plan in our own kernels, without MXNet. Tensors are borrowed, packed
// already, and kept alive by `owner`. Sessions keep a buffer from the pool for each slot.
#pragma once

#include <memory>
#include <vector>

#include "fastprop/predict/engine.hpp"
#include "fastprop/predict/plan.hpp"
#include "fastprop/predict/steps/dense_step.hpp"
#include "fastprop/predict/steps/sparse_step.hpp"

namespace fastprop {

class NativeEngine : public Engine, public std::enable_shared_from_this<NativeEngine> {
 public:
  // Throws kModelFormat where the plan contradicts itself or its tensors.
  static std::shared_ptr<NativeEngine> create(Plan plan, kernels::Isa isa,
                                              std::shared_ptr<const void> owner);

  std::unique_ptr<Session> open_session(std::int64_t batch_size,
                                        std::shared_ptr<BufferPool> pool) override;
  bool runs_anywhere() const override { return true; }
  std::int64_t tile_rows(std::int64_t n_rows, std::int64_t batch_size,
                         std::int64_t threads) const override;
  RowsSpec rows() const override { return plan_.rows; }
  const std::vector<FurtherSpec>& further() const override { return plan_.further; }
  std::int64_t n_scores() const override { return plan_.n_scores; }

 private:
  friend class NativeSession;

  NativeEngine(Plan plan, kernels::Isa isa, std::shared_ptr<const void> owner)
      : plan_(std::move(plan)), isa_(isa), owner_(std::move(owner)) {}
  void make_steps();
  void find_selecting();
  void find_gathering();
  std::int64_t most_rows() const;

  Plan plan_;
  kernels::Isa isa_;
  std::shared_ptr<const void> owner_;
  std::vector<std::unique_ptr<Step>> steps_;
  // The last step, where the best scores can be selected inside it; else nullptr.
  const DenseStep* selecting_ = nullptr;
  // The first step, where it gains by taking many batches at once; else nullptr.
  const SparseStep* gathering_ = nullptr;
};

}  // namespace fastprop
