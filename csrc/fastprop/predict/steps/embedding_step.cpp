#include <algorithm>
#include <cmath>
#include <cstring>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class EmbeddingStep : public Step {
 public:
  EmbeddingStep(const StepSpec& spec, const Tensor& table, bool wraps)
      : table_(static_cast<const float*>(table.data)),
        n_rows_(table.shape[0]),
        width_(table.shape[1]),
        wraps_(wraps),
        input_(spec.inputs[0]),
        output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      float* to = out.row(i);
      for (std::int64_t j = 0; j < input_.width; ++j, to += width_) {
        std::memcpy(to, table_ + row(in.row(i)[j]) * width_, size(width_) * sizeof(float));
      }
    }
  }

 private:
  // The row that an element means. Whatever the element, one of the table.
  std::int64_t row(float element) const {
    if (std::isnan(element)) return 0;
    if (!wraps_) {
      if (element <= 0) return 0;
      if (element >= static_cast<float>(n_rows_)) return n_rows_ - 1;
      return std::min(static_cast<std::int64_t>(element), n_rows_ - 1);
    }
    if (std::fabs(element) >= 0x1p62F) return 0;
    const std::int64_t rest = static_cast<std::int64_t>(element) % n_rows_;
    return rest < 0 ? rest + n_rows_ : rest;
  }

  const float* table_;
  std::int64_t n_rows_;
  std::int64_t width_;
  bool wraps_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_embedding_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart(spec);
  const Tensor& table = tensor(spec, "table");
  require(spec,
          table.type == Tensor::Type::kFloat32 && table.shape.size() == 2 && table.shape[0] >= 1 &&
              table.shape[1] >= 1 && spec.output.width % table.shape[1] == 0 &&
              spec.output.width / table.shape[1] == spec.inputs[0].width,
          "has a table that does not fit its input and output");
  return std::make_unique<EmbeddingStep>(spec, table, number(spec, "wraps", 0) != 0);
}

}  // namespace fastprop
