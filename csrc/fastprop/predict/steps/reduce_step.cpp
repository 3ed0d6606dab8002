// Reductions of neighbouring columns; sums and products are taken in float64.

#include <cmath>
#include <map>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

using Reduce = float (*)(const float* in, std::int64_t n);

template <class F>
float accumulated(const float* in, std::int64_t n, double start) {
  double total = start;
  for (std::int64_t i = 0; i < n; ++i) total = F()(total, static_cast<double>(in[i]));
  return static_cast<float>(total);
}

struct Plus {
  double operator()(double total, double x) const { return total + x; }
};
struct PlusNotNan {
  double operator()(double total, double x) const { return std::isnan(x) ? total : total + x; }
};
struct PlusAbsolute {
  double operator()(double total, double x) const { return total + std::fabs(x); }
};
struct PlusSquare {
  double operator()(double total, double x) const { return total + x * x; }
};
struct Times {
  double operator()(double total, double x) const { return total * x; }
};
struct TimesNotNan {
  double operator()(double total, double x) const { return std::isnan(x) ? total : total * x; }
};

float sum(const float* in, std::int64_t n) { return accumulated<Plus>(in, n, 0); }
float nan_sum(const float* in, std::int64_t n) { return accumulated<PlusNotNan>(in, n, 0); }
float absolute_sum(const float* in, std::int64_t n) { return accumulated<PlusAbsolute>(in, n, 0); }
float square_sum(const float* in, std::int64_t n) { return accumulated<PlusSquare>(in, n, 0); }
float product(const float* in, std::int64_t n) { return accumulated<Times>(in, n, 1); }
float nan_product(const float* in, std::int64_t n) { return accumulated<TimesNotNan>(in, n, 1); }
float length(const float* in, std::int64_t n) { return std::sqrt(square_sum(in, n)); }
float mean(const float* in, std::int64_t n) {
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += static_cast<double>(in[i]);
  return static_cast<float>(total / static_cast<double>(n));
}

float highest(const float* in, std::int64_t n) {
  float found = in[0];
  for (std::int64_t i = 1; i < n; ++i) found = in[i] > found || std::isnan(in[i]) ? in[i] : found;
  return found;
}

float lowest(const float* in, std::int64_t n) {
  float found = in[0];
  for (std::int64_t i = 1; i < n; ++i) found = in[i] < found || std::isnan(in[i]) ? in[i] : found;
  return found;
}

Reduce find_reduce(const StepSpec& spec) {
  static const std::map<std::string, Reduce> kReductions = {{"sum", sum},
                                                            {"nansum", nan_sum},
                                                            {"norm1", absolute_sum},
                                                            {"norm2", length},
                                                            {"_square_sum", square_sum},
                                                            {"prod", product},
                                                            {"nanprod", nan_product},
                                                            {"mean", mean},
                                                            {"max", highest},
                                                            {"min", lowest}};
  const auto found = kReductions.find(spec.function);
  if (found == kReductions.end()) refuse_step(spec, "has an unknown function, " + spec.function);
  return found->second;
}

class ReduceStep : public Step {
 public:
  ReduceStep(const StepSpec& spec, Reduce reduce, std::int64_t group)
      : reduce_(reduce), group_(group), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      const float* from = in.row(i);
      float* to = out.row(i);
      for (std::int64_t j = 0; j < output_.width; ++j) to[j] = reduce_(from + j * group_, group_);
    }
  }

 private:
  Reduce reduce_;
  std::int64_t group_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_reduce_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart(spec);
  const std::int64_t group = spec.inputs[0].width / spec.output.width;
  require(spec, spec.inputs[0].width == group * spec.output.width && group >= 1,
          "has groups that do not fit its columns");
  return std::make_unique<ReduceStep>(spec, find_reduce(spec), group);
}

}  // namespace fastprop
