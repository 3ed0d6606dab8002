#include <algorithm>
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

// Of each group the first elements, as many as a second input says; the others become 0.
class LengthSoftmaxStep : public Step {
 public:
  LengthSoftmaxStep(const StepSpec& spec, std::int64_t group)
      : group_(group), input_(spec.inputs[0]), lengths_(spec.inputs[1]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const ConstMatrix lengths = run.read(lengths_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      for (std::int64_t j = 0; j < lengths_.width; ++j) {
        const std::int64_t n = length(lengths.row(i)[j]);
        float* to = out.row(i) + j * group_;
        std::copy_n(in.row(i) + j * group_, n, to);
        std::fill_n(to + n, group_ - n, 0.0F);
        const std::int32_t offsets[] = {0, static_cast<std::int32_t>(n)};
        if (n > 0) run.kernels.softmax(to, size(group_), 1, offsets, 1);
      }
    }
  }

 private:
  // Whatever the element, no more than there are.
  std::int64_t length(float element) const {
    if (!(element > 0)) return 0;
    if (element >= static_cast<float>(group_)) return group_;
    return static_cast<std::int64_t>(element);
  }

  std::int64_t group_;
  Operand input_;
  Operand lengths_;
  Operand output_;
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
  const bool has_lengths = spec.function == "softmax" && spec.inputs.size() == 2;
  require_inputs(spec, has_lengths ? 2 : 1);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  const std::int64_t group = count(spec, "group", spec.output.width);
  require(spec, spec.output.width % group == 0, "has groups that do not fit its columns");
  if (has_lengths) {
    require_apart(spec);
    require(spec, spec.inputs[1].width == spec.output.width / group,
            "has lengths that do not fit its groups");
    return std::make_unique<LengthSoftmaxStep>(spec, group);
  }
  require_apart_or_same(spec);
  if (spec.function == "softmax") return std::make_unique<SoftmaxStep>(spec, group);
  require(spec, spec.function == "log_softmax", "has an unknown function");
  return std::make_unique<LogSoftmaxStep>(spec, group);
}

}  // namespace fastprop
