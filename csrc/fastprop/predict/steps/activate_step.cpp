#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class ActivateStep : public Step {
 public:
  ActivateStep(const StepSpec& spec, const kernels::Activation& activation)
      : activation_(activation), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      run.kernels.activate(activation_, in.row(i), size(input_.width), out.row(i));
    }
  }

 private:
  kernels::Activation activation_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_activate_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart_or_same(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  return std::make_unique<ActivateStep>(spec, activation(spec, spec.output.width));
}

}  // namespace fastprop
