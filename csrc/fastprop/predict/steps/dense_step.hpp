// A dense layer: the step that can also select from its result instead of writing it.
#pragma once

#include <atomic>
#include <memory>

#include "fastprop/predict/steps/dense_screen.hpp"
#include "fastprop/predict/steps/step.hpp"
#include "fastprop/sched/fork.hpp"

namespace fastprop {

class DenseStep : public Step {
 public:
  DenseStep(const StepSpec& spec, const kernels::DenseLayer& layer, std::int64_t repeat);
  ~DenseStep() override;
  DenseStep(const DenseStep&) = delete;
  DenseStep& operator=(const DenseStep&) = delete;

  void run(const TileRun& run) const override;
  std::int64_t products() const override {
    return static_cast<std::int64_t>(layer_.inputs * layer_.outputs) * repeat_;
  }
  void writes_scores_last() override { writes_scores_last_ = true; }

  // Whether the best of its columns can be told before the activation is taken.
  bool can_select() const;
  // Selects the best columns of each row; `states` has an element for each row of the tile.
  void select(const TileRun& run, const TopKOutput& output, kernels::TopKState* states) const;

 private:
  bool is_worth_help(const TileRun& run) const;
  // Calls columns(begin, end) for both halves, one of them with the help of a worker if one spins.
  template <class Columns>
  void in_halves(const Columns& columns) const;
  // The input as the kernel takes it: `lease` keeps what has to be made for that.
  ConstMatrix prepared_input(const TileRun& run, Lease& lease) const;
  // For selections by this rule from so many rows; nullptr: they do without.
  const kernels::DenseScreen* screen(const TileRun& run, const kernels::TopKRule& rule) const;

  kernels::DenseLayer layer_;
  std::int64_t repeat_;
  Operand input_;
  Operand output_;
  bool writes_scores_last_ = false;
  mutable ForkSafeMutex making_screen_;
  mutable std::atomic<const DenseScreen*> screen_{nullptr};
};

}  // namespace fastprop
