// Activations against double precision over floats of all magnitudes; softmax.

#include <algorithm>

#include "testing.hpp"

namespace testing {

double exact(const Activation& activation, double x, std::size_t column) {
  const double alpha = activation.alpha;
  switch (activation.kind) {
    case ActivationKind::kIdentity:
      return x;
    case ActivationKind::kRelu:
      return x < 0 ? 0 : x;
    case ActivationKind::kSigmoid:
      return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
    case ActivationKind::kSoftRelu:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
    case ActivationKind::kSoftSign:
      return x / (1 + std::fabs(x));
    case ActivationKind::kLeakyRelu:
      return x > 0 ? x : alpha * x;
    case ActivationKind::kPRelu:
      return x > 0 ? x : double{activation.slopes[column]} * x;
    case ActivationKind::kElu:
      return x > 0 ? x : alpha * std::expm1(x);
    case ActivationKind::kSelu:
      return 1.0507009873554804934 * (x > 0 ? x : 1.6732632423543772848 * std::expm1(x));
    case ActivationKind::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::kHardSigmoid:
      return std::min(1.0, std::max(0.0, alpha * x + double{activation.beta}));
    case ActivationKind::kExp:
      return std::exp(x);
    case ActivationKind::kErf:
      return std::erf(x);
  }
  return 0;
}

namespace {

// The distance of two neighbouring floats at x.
double spacing(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 24, -149));
}

struct Case {
  const char* name;
  ActivationKind kind;
  double bound;           // units in the last place
  double absolute;        // errors up to this one count as zero
  bool of_input = false;  // the last place of x, not of f(x)
};

// Below the smallest normal float the functions made from exp(-|x|) may give zero.
constexpr double kSmallest = 1.1754943508222875e-38;

constexpr Case kCases[] = {
    {"identity", ActivationKind::kIdentity, 0, 0},
    {"relu", ActivationKind::kRelu, 0, 0},
    {"exp", ActivationKind::kExp, 1.25, 0},
    {"sigmoid", ActivationKind::kSigmoid, 2.5, kSmallest},
    {"tanh", ActivationKind::kTanh, 1.75, 0},
    {"softrelu", ActivationKind::kSoftRelu, 2.75, kSmallest},
    {"softsign", ActivationKind::kSoftSign, 1.75, 0},
    {"leaky", ActivationKind::kLeakyRelu, 1, 0},
    {"elu", ActivationKind::kElu, 1.25, 0},
    {"selu", ActivationKind::kSelu, 2.5, 0},
    {"erf", ActivationKind::kErf, 2, 0},
    {"gelu", ActivationKind::kGelu, 2, 0, true},
    {"hard_sigmoid", ActivationKind::kHardSigmoid, 1, 2e-8},
};

Activation with_parameters(ActivationKind kind) {
  Activation activation;
  activation.kind = kind;
  activation.alpha = kind == ActivationKind::kHardSigmoid ? 0.2F : 0.25F;
  activation.beta = 0.5F;
  return activation;
}

void test_accuracy(const Kernels& kernels, const Case& test, std::uint32_t step) {
  constexpr std::size_t kBlock = 4099;
  const Activation activation = with_parameters(test.kind);
  Guarded<float> in(kBlock);
  Guarded<float> out(kBlock);
  double worst = 0;
  float worst_at = 0;
  double worst_absolute = 0;
  for (std::uint64_t first = 0; first < 0x100000000U; first += std::uint64_t{step} * kBlock) {
    for (std::size_t i = 0; i < kBlock; ++i) {
      const auto bits = static_cast<std::uint32_t>(first + i * step);
      std::memcpy(&in[i], &bits, sizeof bits);
    }
    kernels.activate(activation, in.data(), kBlock, out.data());
    for (std::size_t i = 0; i < kBlock; ++i) {
      if (!std::isfinite(in[i])) continue;
      const double wanted = exact(activation, in[i], 0);
      if (std::fabs(wanted) > std::numeric_limits<float>::max()) {
        CHECK(std::isinf(out[i]) || out[i] == std::numeric_limits<float>::max(),
              "%s(%a) = %a, not infinite", test.name, in[i], out[i]);
        continue;
      }
      const double error = std::fabs(double{out[i]} - wanted);
      if (!(error <= test.absolute)) {
        const double units = error / spacing(test.of_input ? double{in[i]} : wanted);
        if (!(units <= worst)) {
          worst = units;
          worst_at = in[i];
        }
      }
      if (!(error <= worst_absolute))
        worst_absolute = std::fabs(wanted) < 100 ? error : worst_absolute;
    }
  }
  CHECK(worst <= test.bound, "%s: %.3f units at %a", test.name, worst, worst_at);
  std::printf("%-12s %6.2f units (at %g), absolute %.2e\n", test.name, worst, worst_at,
              worst_absolute);
}

void test_special(const Kernels& kernels) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const float in[] = {kInfinite, -kInfinite, std::nanf(""), 0.0F};
  for (const Case& test : kCases) {
    const Activation activation = with_parameters(test.kind);
    for (std::size_t copies = 1; copies <= 20; ++copies) {  // in whole vectors and in tails
      std::vector<float> x;
      for (std::size_t i = 0; i < copies; ++i) x.push_back(in[i % 4]);
      std::vector<float> out(copies);
      kernels.activate(activation, x.data(), copies, out.data());
      for (std::size_t i = 0; i < copies; ++i) {
        if (std::isnan(x[i])) {
          CHECK(std::isnan(out[i]), "%s(nan) = %g", test.name, out[i]);
        } else if (test.kind == ActivationKind::kGelu && x[i] == -kInfinite) {
          CHECK(std::isnan(out[i]), "gelu(-inf) is -inf * 0, as in MXNet; here %g", out[i]);
        } else if (test.kind == ActivationKind::kSoftSign && std::isinf(x[i])) {
          CHECK(std::isnan(out[i]), "softsign(inf) is inf / inf, as in MXNet; here %g", out[i]);
        } else {
          const double wanted = exact(activation, x[i], 0);
          const bool close = std::fabs(double{out[i]} - wanted) < 1e-6 || out[i] == wanted;
          CHECK(close, "%s(%g) = %g, not %g", test.name, x[i], out[i], wanted);
        }
      }
    }
  }
}

// A value's bits do not depend on its place; in place is as good as from one array to another.
void test_places(const Kernels& kernels) {
  Random random(7);
  for (const Case& test : kCases) {
    const Activation activation = with_parameters(test.kind);
    for (std::size_t n = 0; n < 70; ++n) {
      Guarded<float> in(n);
      Guarded<float> out(n);
      for (std::size_t i = 0; i < n; ++i) in[i] = random.value(8);
      kernels.activate(activation, in.data(), n, out.data());
      for (std::size_t i = 0; i < n; ++i) {
        float one = 0;
        kernels.activate(activation, &in[i], 1, &one);
        CHECK(same_bits(&one, &out[i], 1), "%s: %zu of %zu", test.name, i, n);
      }
      kernels.activate(activation, in.data(), n, in.data());
      CHECK(same_bits(in.data(), out.data(), n), "%s in place, %zu", test.name, n);
    }
  }
  Guarded<float> slopes(37);
  Guarded<float> in(37);
  Guarded<float> out(37);
  for (std::size_t i = 0; i < 37; ++i) {
    slopes[i] = random.value();
    in[i] = random.value();
  }
  Activation prelu;
  prelu.kind = ActivationKind::kPRelu;
  prelu.slopes = slopes.data();
  kernels.activate(prelu, in.data(), 37, out.data());
  for (std::size_t i = 0; i < 37; ++i) {
    CHECK(std::fabs(double{out[i]} - exact(prelu, in[i], i)) < 1e-7, "prelu %zu", i);
  }
}

void test_softmax(const Kernels& kernels) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int32_t> offsets{0};
    const std::size_t groups = random.below(6);
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t size = random.coin() ? random.below(5) : random.below(70);
      offsets.push_back(offsets.back() + static_cast<std::int32_t>(size));
    }
    const auto n = static_cast<std::size_t>(offsets.back());
    const std::size_t stride = n + random.below(4);
    const std::size_t rows = 1 + random.below(3);
    std::vector<float> data(rows * stride, 5.0F);
    const double scale = random.coin() ? 3 : 200;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t i = 0; i < n; ++i) data[r * stride + i] = random.value(scale);
    }
    const std::vector<float> before = data;
    kernels.softmax(data.data(), stride, rows, offsets.data(), groups);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t g = 0; g < groups; ++g) {
        double highest = -1e300;
        double sum = 0;
        for (std::int32_t i = offsets[g]; i < offsets[g + 1]; ++i) {
          highest = std::max(highest, double{before[r * stride + std::size_t(i)]});
        }
        for (std::int32_t i = offsets[g]; i < offsets[g + 1]; ++i) {
          sum += std::exp(double{before[r * stride + std::size_t(i)]} - highest);
        }
        for (std::int32_t i = offsets[g]; i < offsets[g + 1]; ++i) {
          const std::size_t at = r * stride + std::size_t(i);
          const double wanted = std::exp(double{before[at]} - highest) / sum;
          // x - highest is rounded to float32 before its exp is taken.
          const double allowed = (1e-6 + 6e-8 * (highest - double{before[at]})) * wanted + 1e-37;
          CHECK(std::fabs(double{data[at]} - wanted) <= allowed, "softmax %g, not %g", data[at],
                wanted);
        }
      }
      for (std::size_t i = n; i < stride; ++i) CHECK(data[r * stride + i] == 5.0F, "written past");
    }
  }
  float unknown[3] = {1.0F, std::nanf(""), 2.0F};
  const std::int32_t offsets[2] = {0, 3};
  kernels.softmax(unknown, 3, 1, offsets, 1);
  CHECK(std::isnan(unknown[0]) && std::isnan(unknown[1]) && std::isnan(unknown[2]), "NaN is lost");
}

}  // namespace

void test_math(const Kernels& kernels, bool every_float) {
  for (const Case& test : kCases) test_accuracy(kernels, test, every_float ? 1 : 2777);
  if (every_float) return;
  test_special(kernels);
  test_places(kernels);
  test_softmax(kernels);
}

}  // namespace testing
