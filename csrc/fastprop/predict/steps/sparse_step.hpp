// The sparse layer: the step that gains by being run on many batches at once.
#pragma once

#include "fastprop/predict/steps/step.hpp"

namespace fastprop {

class SparseStep : public Step {
 public:
  SparseStep(const StepSpec& spec, const kernels::SparseLayer& layer, std::int64_t n_columns)
      : layer_(layer), n_columns_(n_columns), output_(spec.output) {}

  void run(const TileRun& run) const override;
  bool is_sparse() const override { return true; }

  // Whether its rows, run together, would find weight rows in the shared cache that they otherwise
  // fetch from memory each for itself.
  virtual bool gains_by_many_rows() const;
  // Does what `run` does for the rows [first, first + n_rows), to the same bits, into `out`:
  // n_rows x output().width, without a gap.
  void run_many(const kernels::Kernels& kernels, const CsrView& rows, std::int64_t first,
                std::int64_t n_rows, BufferPool& pool, float* out) const;
  const Operand& output() const { return output_; }

 protected:
  void run_layer(const TileRun& run, const kernels::CsrRows& rows) const;

 private:
  std::size_t weight_row_bytes() const;
  void run_in_halves(const TileRun& run, const kernels::CsrRows& rows, const Matrix& out) const;

  kernels::SparseLayer layer_;
  std::int64_t n_columns_;
  Operand output_;
};

}  // namespace fastprop
