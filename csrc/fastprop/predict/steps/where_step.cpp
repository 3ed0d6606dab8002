#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class WhereStep : public Step {
 public:
  explicit WhereStep(const StepSpec& spec)
      : condition_(spec.inputs[0]),
        yes_(spec.inputs[1]),
        no_(spec.inputs[2]),
        output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix condition = run.read(condition_);
    const ConstMatrix yes = run.read(yes_);
    const ConstMatrix no = run.read(no_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      float* to = out.row(i);
      for (std::int64_t j = 0; j < output_.width; ++j) {
        to[j] = condition.row(i)[j] != 0 ? yes.row(i)[j] : no.row(i)[j];
      }
    }
  }

 private:
  Operand condition_;
  Operand yes_;
  Operand no_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_where_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 3);
  require_apart_or_same(spec);
  for (const Operand& input : spec.inputs) {
    require(spec, input.width == spec.output.width, "has operands of different widths");
  }
  return std::make_unique<WhereStep>(spec);
}

}  // namespace fastprop
