#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class AffineStep : public Step {
 public:
  explicit AffineStep(const StepSpec& spec)
      : scale_(floats(spec, "scale", spec.output.width)),
        shift_(floats(spec, "shift", spec.output.width)),
        input_(spec.inputs[0]),
        output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      const float* from = in.row(i);
      float* to = out.row(i);
      for (std::int64_t j = 0; j < output_.width; ++j) to[j] = from[j] * scale_[j] + shift_[j];
    }
  }

 private:
  const float* scale_;
  const float* shift_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_affine_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart_or_same(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  return std::make_unique<AffineStep>(spec);
}

}  // namespace fastprop
