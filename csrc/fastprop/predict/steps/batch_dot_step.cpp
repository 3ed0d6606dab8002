// Products of small matrices that both depend on the row: attention and the like. Plain loops.

#include <algorithm>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

// (rows x inner) times (inner x columns).
struct Sizes {
  std::int64_t count;
  std::int64_t rows;
  std::int64_t inner;
  std::int64_t columns;
};

void multiply(const float* a, const float* b, const Sizes& sizes, float* out) {
  for (std::int64_t i = 0; i < sizes.rows; ++i, a += sizes.inner, out += sizes.columns) {
    std::fill_n(out, sizes.columns, 0.0F);
    for (std::int64_t k = 0; k < sizes.inner; ++k) {
      for (std::int64_t j = 0; j < sizes.columns; ++j) out[j] += a[k] * b[k * sizes.columns + j];
    }
  }
}

class BatchDotStep : public Step {
 public:
  BatchDotStep(const StepSpec& spec, const Sizes& sizes)
      : sizes_(sizes), left_(spec.inputs[0]), right_(spec.inputs[1]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix a = run.read(left_);
    const ConstMatrix b = run.read(right_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      for (std::int64_t pair = 0; pair < sizes_.count; ++pair) {
        multiply(a.row(i) + pair * sizes_.rows * sizes_.inner,
                 b.row(i) + pair * sizes_.inner * sizes_.columns, sizes_,
                 out.row(i) + pair * sizes_.rows * sizes_.columns);
      }
    }
  }

 private:
  Sizes sizes_;
  Operand left_;
  Operand right_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_batch_dot_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 2);
  require_apart(spec);
  const std::int64_t pairs = count(spec, "count", 1);
  const std::int64_t inner = count(spec, "inner", 1);
  const std::int64_t left = spec.inputs[0].width;
  const std::int64_t right = spec.inputs[1].width;
  // No product of two of them overflows: each is less than 2^31.
  require(spec,
          left % pairs == 0 && right % pairs == 0 && left / pairs % inner == 0 &&
              right / pairs % inner == 0,
          "has matrices that do not fit its inputs");
  const Sizes sizes{pairs, left / pairs / inner, inner, right / pairs / inner};
  require(spec,
          sizes.rows * sizes.columns <= spec.output.width &&
              sizes.rows * sizes.columns * pairs == spec.output.width,
          "has matrices that do not fit its output");
  return std::make_unique<BatchDotStep>(spec, sizes);
}

}  // namespace fastprop
