#include <cmath>
#include <cstring>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

void log_softmax(const float* in, std::int64_t n, float* out) {
  float highest = in[0];
  for (std::int64_t i = 1; i < n; ++i) highest = in[i] > highest ? in[i] : highest;
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(in[i] - highest));
  const double shift = static_cast<double>(highest) + std::log(sum);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>(static_cast<double>(in[i]) - shift);
  }
}

class SoftmaxStep : public Step {
 public:
  SoftmaxStep(const StepSpec& spec, std::int64_t group)
      : group_(group), input_(spec.inputs[0]), output_(spec.output) {
    for (std::int64_t at = 0; at <= output_.width; at += group) {
      offsets_.push_back(static_cast<std::int32_t>(at));
    }
  }

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    if (in.data != out.data) {
      for (std::int64_t i = 0; i < run.n_rows(); ++i) {
        std::memcpy(out.row(i), in.row(i), size(output_.width) * sizeof(float));
      }
    }
    run.kernels.softmax(out.data, size(out.stride), size(run.n_rows()), offsets_.data(),
                        offsets_.size() - 1);
  }

 private:
  std::int64_t group_;
  Operand input_;
  Operand output_;
  std::vector<std::int32_t> offsets_;
};

class LogSoftmaxStep : public Step {
 public:
  LogSoftmaxStep(const StepSpec& spec, std::int64_t group)
      : group_(group), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      for (std::int64_t at = 0; at < output_.width; at += group_) {
        log_softmax(in.row(i) + at, group_, out.row(i) + at);
      }
    }
  }

 private:
  std::int64_t group_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_softmax_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart_or_same(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  const std::int64_t group = count(spec, "group", spec.output.width);
  require(spec, spec.output.width % group == 0, "has groups that do not fit its columns");
  if (spec.function == "softmax") return std::make_unique<SoftmaxStep>(spec, group);
  require(spec, spec.function == "log_softmax", "has an unknown function");
  return std::make_unique<LogSoftmaxStep>(spec, group);
}

}  // namespace fastprop
