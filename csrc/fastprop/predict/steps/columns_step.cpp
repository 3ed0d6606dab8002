#include <cstring>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class CopyStep : public Step {
 public:
  explicit CopyStep(const StepSpec& spec) : input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      std::memcpy(out.row(i), in.row(i), size(output_.width) * sizeof(float));
    }
  }

 private:
  Operand input_;
  Operand output_;
};

class ColumnsStep : public Step {
 public:
  ColumnsStep(const StepSpec& spec, const std::int32_t* columns)
      : columns_(columns), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      const float* from = in.row(i);
      float* to = out.row(i);
      for (std::int64_t j = 0; j < output_.width; ++j) to[j] = from[columns_[j]];
    }
  }

 private:
  const std::int32_t* columns_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_copy_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  return std::make_unique<CopyStep>(spec);
}

std::unique_ptr<Step> make_columns_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart(spec);
  const Tensor& columns = tensor(spec, "columns");
  require(spec, columns.type == Tensor::Type::kInt32 && columns.size() == spec.output.width,
          "needs an int32 column for each column of its output");
  const auto* numbers = static_cast<const std::int32_t*>(columns.data);
  for (std::int64_t i = 0; i < columns.size(); ++i) {
    require(spec, numbers[i] >= 0 && numbers[i] < spec.inputs[0].width,
            "has a column outside its input");
  }
  return std::make_unique<ColumnsStep>(spec, numbers);
}

}  // namespace fastprop
