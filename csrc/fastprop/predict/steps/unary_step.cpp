// Functions of one number, in plain loops: they are rare, and the compiler vectorises the cheap
// ones. Activations, which are not rare, have kernels.

#include <cmath>
#include <map>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

struct Settings {
  float low = 0;
  float high = 0;
  float scalar = 1;
};

using Loop = void (*)(const float* in, std::int64_t n, const Settings& settings, float* out);

template <class F>
void loop(const float* in, std::int64_t n, const Settings& settings, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = F()(in[i], settings);
}

// std::lgamma writes the sign to a variable that all threads share.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

#define FASTPROP_UNARY(name, expression)                 \
  struct name {                                          \
    float operator()(float x, const Settings& s) const { \
      static_cast<void>(s);                              \
      return expression;                                 \
    }                                                    \
  };

FASTPROP_UNARY(Abs, std::fabs(x))
FASTPROP_UNARY(Arccos, std::acos(x))
FASTPROP_UNARY(Arccosh, std::acosh(x))
FASTPROP_UNARY(Arcsin, std::asin(x))
FASTPROP_UNARY(Arcsinh, std::asinh(x))
FASTPROP_UNARY(Arctan, std::atan(x))
FASTPROP_UNARY(Arctanh, std::atanh(x))
FASTPROP_UNARY(Cbrt, std::cbrt(x))
FASTPROP_UNARY(Ceil, std::ceil(x))
FASTPROP_UNARY(Clip, x < s.low ? s.low : (x > s.high ? s.high : x))
FASTPROP_UNARY(Cos, std::cos(x))
FASTPROP_UNARY(Cosh, std::cosh(x))
FASTPROP_UNARY(Degrees, x * 57.29577951308232F)
FASTPROP_UNARY(Expm1, std::expm1(x))
FASTPROP_UNARY(Floor, std::floor(x))
// In float64, rounded once.
FASTPROP_UNARY(Gamma, static_cast<float>(std::tgamma(static_cast<double>(x))))
FASTPROP_UNARY(LogGamma, static_cast<float>(log_gamma(static_cast<double>(x))))
FASTPROP_UNARY(Log, std::log(x))
FASTPROP_UNARY(Log10, std::log10(x))
FASTPROP_UNARY(Log1p, std::log1p(x))
FASTPROP_UNARY(Log2, std::log2(x))
FASTPROP_UNARY(LogicalNot, x == 0 ? 1.0F : 0.0F)
FASTPROP_UNARY(Negative, -x)
FASTPROP_UNARY(OnesLike, (static_cast<void>(x), 1.0F))
FASTPROP_UNARY(Radians, x * 0.017453292519943295F)
FASTPROP_UNARY(Rcbrt, 1.0F / std::cbrt(x))
FASTPROP_UNARY(Reciprocal, 1.0F / x)
// Of two that are equally near, the lower.
FASTPROP_UNARY(Rint, x - std::floor(x) <= std::ceil(x) - x ? std::floor(x) : std::ceil(x))
FASTPROP_UNARY(Round, std::round(x))
FASTPROP_UNARY(Rsqrt, 1.0F / std::sqrt(x))
FASTPROP_UNARY(Sign, x > 0 ? 1.0F : (x < 0 ? -1.0F : x))
FASTPROP_UNARY(Sin, std::sin(x))
FASTPROP_UNARY(Sinh, std::sinh(x))
FASTPROP_UNARY(SmoothL1, std::fabs(x) > 1 / (s.scalar * s.scalar)
                             ? std::fabs(x) - 0.5F / (s.scalar * s.scalar)
                             : 0.5F * s.scalar * s.scalar * x * x)
FASTPROP_UNARY(Sqrt, std::sqrt(x))
FASTPROP_UNARY(Square, x* x)
FASTPROP_UNARY(Tan, std::tan(x))
FASTPROP_UNARY(Trunc, std::trunc(x))
FASTPROP_UNARY(ZerosLike, (static_cast<void>(x), 0.0F))

#undef FASTPROP_UNARY

Loop find_loop(const StepSpec& spec) {
  static const std::map<std::string, Loop> kLoops = {
      {"abs", loop<Abs>},
      {"arccos", loop<Arccos>},
      {"arccosh", loop<Arccosh>},
      {"arcsin", loop<Arcsin>},
      {"arcsinh", loop<Arcsinh>},
      {"arctan", loop<Arctan>},
      {"arctanh", loop<Arctanh>},
      {"cbrt", loop<Cbrt>},
      {"ceil", loop<Ceil>},
      {"clip", loop<Clip>},
      {"cos", loop<Cos>},
      {"cosh", loop<Cosh>},
      {"degrees", loop<Degrees>},
      {"expm1", loop<Expm1>},
      {"fix", loop<Trunc>},
      {"floor", loop<Floor>},
      {"gamma", loop<Gamma>},
      {"gammaln", loop<LogGamma>},
      {"log", loop<Log>},
      {"log10", loop<Log10>},
      {"log1p", loop<Log1p>},
      {"log2", loop<Log2>},
      {"logical_not", loop<LogicalNot>},
      {"negative", loop<Negative>},
      {"ones_like", loop<OnesLike>},
      {"radians", loop<Radians>},
      {"rcbrt", loop<Rcbrt>},
      {"reciprocal", loop<Reciprocal>},
      {"rint", loop<Rint>},
      {"round", loop<Round>},
      {"rsqrt", loop<Rsqrt>},
      {"sign", loop<Sign>},
      {"sin", loop<Sin>},
      {"sinh", loop<Sinh>},
      {"smooth_l1", loop<SmoothL1>},
      {"sqrt", loop<Sqrt>},
      {"square", loop<Square>},
      {"tan", loop<Tan>},
      {"trunc", loop<Trunc>},
      {"zeros_like", loop<ZerosLike>},
  };
  const auto found = kLoops.find(spec.function);
  if (found == kLoops.end()) refuse_step(spec, "has an unknown function, " + spec.function);
  return found->second;
}

class UnaryStep : public Step {
 public:
  UnaryStep(const StepSpec& spec, Loop loop, const Settings& settings)
      : loop_(loop), settings_(settings), input_(spec.inputs[0]), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const ConstMatrix in = run.read(input_);
    const Matrix out = run.write(output_);
    for (std::int64_t i = 0; i < run.n_rows(); ++i) {
      loop_(in.row(i), output_.width, settings_, out.row(i));
    }
  }

 private:
  Loop loop_;
  Settings settings_;
  Operand input_;
  Operand output_;
};

}  // namespace

std::unique_ptr<Step> make_unary_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart_or_same(spec);
  require(spec, spec.inputs[0].width == spec.output.width, "changes the number of columns");
  Settings settings;
  settings.low = static_cast<float>(number(spec, "low", 0));
  settings.high = static_cast<float>(number(spec, "high", 0));
  settings.scalar = static_cast<float>(number(spec, "scalar", 1));
  return std::make_unique<UnaryStep>(spec, find_loop(spec), settings);
}

}  // namespace fastprop
