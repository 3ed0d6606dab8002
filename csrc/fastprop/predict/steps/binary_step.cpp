// Functions of two numbers, in loops that the compiler vectorises where they are arithmetic. The
// second operand may be a row of constants or one constant; an operand of one column goes with
// every column of the other.

#include <cmath>
#include <map>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

struct Add {
  float operator()(float a, float b) const { return a + b; }
};
struct Sub {
  float operator()(float a, float b) const { return a - b; }
};
struct Mul {
  float operator()(float a, float b) const { return a * b; }
};
struct Div {
  float operator()(float a, float b) const { return a / b; }
};
struct Mod {  // the result has the divisor's sign; nothing of what is divided by zero
  float operator()(float a, float b) const {
    if (b == 0) return 0;
    const float rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
};
struct Power {
  float operator()(float a, float b) const { return std::pow(a, b); }
};
struct Maximum {
  float operator()(float a, float b) const { return a > b || std::isnan(a) ? a : b; }
};
struct Minimum {
  float operator()(float a, float b) const { return a < b || std::isnan(a) ? a : b; }
};
struct Hypot {
  float operator()(float a, float b) const { return std::hypot(a, b); }
};

#define FASTPROP_TRUTH(name, expression)                                            \
  struct name {                                                                     \
    float operator()(float a, float b) const { return (expression) ? 1.0F : 0.0F; } \
  };

FASTPROP_TRUTH(Equal, a == b)
FASTPROP_TRUTH(NotEqual, a != b)
FASTPROP_TRUTH(Greater, a > b)
FASTPROP_TRUTH(GreaterEqual, a >= b)
FASTPROP_TRUTH(Lesser, a < b)
FASTPROP_TRUTH(LesserEqual, a <= b)
FASTPROP_TRUTH(LogicalAnd, a != 0 && b != 0)
FASTPROP_TRUTH(LogicalOr, a != 0 || b != 0)
FASTPROP_TRUTH(LogicalXor, (a != 0) != (b != 0))

#undef FASTPROP_TRUTH

// A column's operand: the element itself, or the one that goes with every column.
struct Row {
  const float* data;
  bool single;
};

using Loop = void (*)(Row a, Row b, std::int64_t n, float* out);

template <class F>
void loop(Row a, Row b, std::int64_t n, float* out) {
  const F f;
  if (a.single && b.single) {
    const float result = f(a.data[0], b.data[0]);
    for (std::int64_t i = 0; i < n; ++i) out[i] = result;
  } else if (a.single) {
    const float x = a.data[0];
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(x, b.data[i]);
  } else if (b.single) {
    const float y = b.data[0];
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(a.data[i], y);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(a.data[i], b.data[i]);
  }
}

Loop find_loop(const StepSpec& spec) {
  static const std::map<std::string, Loop> kLoops = {
      {"add", loop<Add>},
      {"sub", loop<Sub>},
      {"mul", loop<Mul>},
      {"div", loop<Div>},
      {"mod", loop<Mod>},
      {"power", loop<Power>},
      {"maximum", loop<Maximum>},
      {"minimum", loop<Minimum>},
      {"hypot", loop<Hypot>},
      {"equal", loop<Equal>},
      {"not_equal", loop<NotEqual>},
      {"greater", loop<Greater>},
      {"greater_equal", loop<GreaterEqual>},
      {"lesser", loop<Lesser>},
      {"lesser_equal", loop<LesserEqual>},
      {"logical_and", loop<LogicalAnd>},
      {"logical_or", loop<LogicalOr>},
      {"logical_xor", loop<LogicalXor>},
  };
  const auto found = kLoops.find(spec.function);
  if (found == kLoops.end()) refuse_step(spec, "has an unknown function, " + spec.function);
  return found->second;
}

// Two operands, both from the tile.
class BinaryStep : public Step {
 public:
  BinaryStep(const StepSpec& spec, Loop loop)
      : loop_(loop), left_(spec.inputs[0]), right_(spec.inputs[1]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix a = run.read(left_);
    const ConstMatrix b = run.read(right_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      loop_({a.row(i), left_.width == 1}, {b.row(i), right_.width == 1}, output_.width, out.row(i));
    }
  }

 private:
  Loop loop_;
  Operand left_;
  Operand right_;
  Operand output_;
};

// An operand from the tile and a constant one.
class ConstantStep : public Step {
 public:
  ConstantStep(const StepSpec& spec, Loop loop, const float* constants, float scalar, bool swapped)
      : loop_(loop),
        constants_(constants),
        scalar_(scalar),
        swapped_(swapped),
        input_(spec.inputs[0]),
        output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    const Row constant = constants_ == nullptr ? Row{&scalar_, true} : Row{constants_, false};
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      const Row element{in.row(i), input_.width == 1};
      loop_(swapped_ ? constant : element, swapped_ ? element : constant, output_.width,
            out.row(i));
    }
  }

 private:
  Loop loop_;
  const float* constants_;  // nullptr: the scalar
  float scalar_;
  bool swapped_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_binary_step(const StepSpec& spec, const Plan& /*plan*/) {
  const std::int64_t width = spec.output.width;
  for (const Operand& input : spec.inputs) {
    require(spec, input.width == width || input.width == 1, "has operands of different widths");
  }
  const Loop loop = find_loop(spec);
  require_apart_or_same(spec);
  if (spec.inputs.size() == 2) return std::make_unique<BinaryStep>(spec, loop);
  require_inputs(spec, 1);
  return std::make_unique<ConstantStep>(spec, loop, floats_or_null(spec, "constants", width),
                                        static_cast<float>(number(spec, "scalar", 0)),
                                        number(spec, "swapped", 0) != 0);
}

}  // namespace fastprop
