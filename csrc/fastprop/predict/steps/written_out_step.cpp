#include <algorithm>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class WrittenOutStep : public Step {
 public:
  explicit WrittenOutStep(const StepSpec& spec) : output_(spec.output) {}

  void run(const TileRun& run) const override {
    const auto& rows = std::get<CsrView>(run.tile.rows);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      float* row = out.row(i);
      std::fill_n(row, output_.width, 0.0F);
      const std::int64_t end = rows.indptr[run.tile.first + i + 1];
      for (std::int64_t at = rows.indptr[run.tile.first + i]; at < end; ++at) {
        row[rows.indices[at]] += static_cast<float>(rows.values[at]);
      }
    }
  }

  bool is_sparse() const override { return true; }

 private:
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_written_out_step(const StepSpec& spec, const Plan& plan) {
  require_inputs(spec, 1);
  require(spec, spec.inputs[0].place == Place::kRows && plan.rows.sparse,
          "reads something that is not the sparse rows");
  require(spec, spec.output.width == plan.rows.n_columns, "changes the number of columns");
  return std::make_unique<WrittenOutStep>(spec);
}

}  // namespace fastprop
