// Sums are taken in float64, so that long groups lose nothing.

#include <cmath>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

struct Layer {
  static void run(const float* in, std::int64_t n, double eps, float* out) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(in[i]);
    const double mean = sum / static_cast<double>(n);
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double apart = static_cast<double>(in[i]) - mean;
      squares += apart * apart;
    }
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (std::int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<float>((static_cast<double>(in[i]) - mean) * inverse);
    }
  }
};

struct Length {
  static void run(const float* in, std::int64_t n, double eps, float* out) {
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      squares += static_cast<double>(in[i]) * static_cast<double>(in[i]);
    }
    const double inverse = 1 / std::sqrt(squares + eps);
    for (std::int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<float>(static_cast<double>(in[i]) * inverse);
    }
  }
};

template <class F>
class NormalizeStep : public Step {
 public:
  NormalizeStep(const StepSpec& spec, std::int64_t group)
      : group_(group), eps_(number(spec, "eps", 0)), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      for (std::int64_t at = 0; at < output_.width; at += group_) {
        F::run(in.row(i) + at, group_, eps_, out.row(i) + at);
      }
    }
  }

 private:
  std::int64_t group_;
  double eps_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_normalize_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart_or_same(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  const std::int64_t group = count(spec, "group", spec.output.width);
  require(spec, spec.output.width % group == 0, "has groups that do not fit its columns");
  if (spec.function == "layer") return std::make_unique<NormalizeStep<Layer>>(spec, group);
  require(spec, spec.function == "length", "has an unknown function");
  return std::make_unique<NormalizeStep<Length>>(spec, group);
}

}  // namespace fastprop
