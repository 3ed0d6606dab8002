// Dense layers with int8 weights against the same quantisation written plainly: the same bits from
// every instruction set, for shapes on both sides of every quad, tile and block and for rows and
// columns that have no step; against double precision, within what the steps allow.

#include <algorithm>

#include "testing.hpp"

namespace testing {
namespace {

constexpr float kUntouched = 12345.0F;

// Whole numbers of steps, as the layer's definition has them.
struct Steps {
  float step = 0.0F;
  std::vector<std::int32_t> whole;
};

Steps row_steps(const float* x, std::size_t n) {
  float least = 0.0F;
  float greatest = 0.0F;
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(x[i]);
    least = std::min(least, x[i]);
    greatest = std::max(greatest, x[i]);
  }
  Steps steps;
  steps.whole.assign(n, 0);
  steps.step = greatest / 254.0F - least / 254.0F;
  if (!finite) steps.step = std::numeric_limits<float>::quiet_NaN();
  if (!(steps.step >= std::numeric_limits<float>::min())) {
    if (finite) steps.step = 0.0F;
    return steps;
  }
  const float steps_a_unit = 1.0F / steps.step;
  for (std::size_t i = 0; i < n; ++i) {
    steps.whole[i] = static_cast<std::int32_t>(std::nearbyint(x[i] * steps_a_unit));
  }
  return steps;
}

Steps column_steps(const float* w, std::size_t n) {
  float greatest = 0.0F;
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(w[i]);
    greatest = std::max(greatest, std::fabs(w[i]));
  }
  Steps steps;
  steps.whole.assign(n, 0);
  steps.step = greatest / 127.0F;
  if (!finite) steps.step = std::numeric_limits<float>::quiet_NaN();
  if (!(steps.step >= std::numeric_limits<float>::min())) {
    if (finite) steps.step = 0.0F;
    return steps;
  }
  for (std::size_t i = 0; i < n; ++i) {
    steps.whole[i] = static_cast<std::int32_t>(std::nearbyint(w[i] / steps.step));
  }
  return steps;
}

struct Product {
  // `spoil` has the first rows and columns be out of the ordinary.
  Product(Random& random, std::size_t rows, std::size_t k, std::size_t n, bool spoil)
      : rows(rows),
        weight_stride(k + random.below(3)),
        input_stride(k + random.below(3)),
        weight(n * weight_stride + 1),
        panels(packed_dense_bytes(WeightType::kInt8, k, n)),
        bias(n),
        input(rows == 0 ? 0 : (rows - 1) * input_stride + k) {
    for (float& w : weight) w = random.value();
    const bool positive = random.coin();
    for (std::size_t i = 0; i < input.size(); ++i) {
      input[i] = random.value(3.0);
      if (positive) input[i] = std::max(input[i], 0.0F);
    }
    for (std::size_t i = 0; i < n; ++i) bias[i] = random.value();
    if (spoil) spoil_rows(k), spoil_columns(k, n);
    pack_dense(WeightType::kInt8, weight.data(), weight_stride, k, n, panels.data());
    layer.panels = panels.data();
    layer.inputs = k;
    layer.outputs = n;
    layer.weight_type = WeightType::kInt8;
    if (random.below(4) != 0) layer.bias = bias.data();
  }

  void spoil_rows(std::size_t k) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kGreatest = std::numeric_limits<float>::max();
    const float fills[] = {0.0F, 1.5F, -2.5F, -0.0F, 1e-38F, 1e-44F, kGreatest, -kGreatest};
    std::size_t row = 0;
    for (const float fill : fills) {
      if (row < rows) std::fill_n(input.data() + row++ * input_stride, k, fill);
    }
    for (const float one : {std::nanf(""), kInfinity, -kInfinity, 1e30F}) {
      if (row < rows && k > 0) input[row * input_stride + row % k] = one;
      ++row;
    }
  }

  void spoil_columns(std::size_t k, std::size_t n) {
    std::size_t column = 0;
    for (const float fill : {0.0F, -1.0F, 1e-37F, 1e-44F, 1e30F}) {
      if (column < n) std::fill_n(weight.begin() + long(column++ * weight_stride), k, fill);
    }
    if (column < n && k > 0) weight[column * weight_stride] = std::nanf("");
  }

  std::vector<float> quantized(const Kernels& kernels) {
    std::vector<float> made(rows * kernels.quantized_words(layer.inputs) + 1, kUntouched);
    kernels.quantize(input.data(), input_stride, rows, layer.inputs, made.data());
    CHECK(made.back() == kUntouched, "%zu rows of %zu: written beyond", rows, layer.inputs);
    return made;
  }

  std::size_t rows;
  std::size_t weight_stride;
  std::size_t input_stride;
  std::vector<float> weight;
  Guarded<char> panels;
  Guarded<float> bias;
  Guarded<float> input;
  DenseLayer layer;
};

bool same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || same_bits(&a, &b, 1); }

void check_product(const Kernels& kernels, Random& random, std::size_t rows, std::size_t k,
                   std::size_t n, bool spoil) {
  Product product(random, rows, k, n, spoil);
  DenseLayer& layer = product.layer;
  const bool relu = random.coin();
  layer.activation.kind = relu ? ActivationKind::kRelu : ActivationKind::kIdentity;
  const std::size_t words = kernels.quantized_words(k);
  const std::vector<float> input = product.quantized(kernels);

  DenseOutput output;
  output.stride = n + random.below(40);
  std::vector<float> memory(rows * output.stride + 24, kUntouched);
  output.data = memory.data() + random.below(17);
  output.last_column = n;
  output.streaming = random.coin();
  kernels.dense(layer, input.data(), words, rows, output);

  for (std::size_t c = 0; c < n; ++c) {
    const float* const weight = product.weight.data() + c * product.weight_stride;
    const Steps column = column_steps(weight, k);
    const float bias = layer.bias != nullptr ? layer.bias[c] : 0.0F;
    for (std::size_t r = 0; r < rows; ++r) {
      const float* const x = product.input.data() + r * product.input_stride;
      const Steps row = row_steps(x, k);
      std::int32_t sum = 0;
      double exact_sum = double{bias};
      double allowed = 1e-6 * std::fabs(exact_sum);
      for (std::size_t i = 0; i < k; ++i) {
        sum += row.whole[i] * column.whole[i];
        exact_sum += double{x[i]} * double{weight[i]};
        // Half a step each, and a little for the steps' own rounding.
        const double off_x = 0.51 * double{row.step} + 1e-6 * std::fabs(double{x[i]}) + 2e-38;
        const double off_w = 0.51 * double{column.step} + 1e-6 * std::fabs(double{weight[i]});
        allowed += std::fabs(double{x[i]}) * (off_w + 2e-38) +
                   std::fabs(double{weight[i]}) * off_x + off_x * off_w;
      }
      float wanted = static_cast<float>(sum) * column.step * row.step + bias;
      if (relu) {
        wanted = wanted > 0.0F || std::isnan(wanted) ? wanted : 0.0F;
        exact_sum = std::max(exact_sum, 0.0);
      }
      const float got = output.data[r * output.stride + c];
      CHECK(same(got, wanted) || (got == 0.0F && wanted == 0.0F),
            "%zu x %zu x %zu, [%zu, %zu]: %g, not %g", rows, k, n, r, c, got, wanted);
      if (!spoil) {
        CHECK(std::fabs(double{got} - exact_sum) <= allowed,
              "%zu x %zu x %zu, [%zu, %zu]: %g, exactly %g", rows, k, n, r, c, got, exact_sum);
      }
    }
  }
  std::size_t written = 0;
  for (const float x : memory) written += x != kUntouched ? 1 : 0;
  CHECK(written == rows * n, "%zu x %zu x %zu: %zu written", rows, k, n, written);

  // The same bits in another cut.
  if (rows == 0 || n == 0) return;
  const std::size_t first_row = random.below(rows);
  const std::size_t n_rows = 1 + random.below(rows - first_row);
  DenseOutput part;
  part.first_column = random.below((n + kPanelColumns - 1) / kPanelColumns) * kPanelColumns;
  part.last_column = part.first_column + random.below(n - part.first_column + 1);
  part.stride = n;
  std::vector<float> again(n_rows * n, kUntouched);
  part.data = again.data();
  kernels.dense(layer, input.data() + first_row * words, words, n_rows, part);
  for (std::size_t r = 0; r < n_rows; ++r) {
    for (std::size_t c = 0; c < n; ++c) {
      const bool inside = c >= part.first_column && c < part.last_column;
      const float wanted = inside ? output.data[(first_row + r) * output.stride + c] : kUntouched;
      CHECK(same(again[r * n + c], wanted), "%zu x %zu x %zu: [%zu, %zu] differs in part", rows, k,
            n, first_row + r, c);
    }
  }
}

// The greatest sums that there can be: every input and every weight at its most.
void check_greatest_sums(const Kernels& kernels) {
  constexpr std::size_t kInputs = kMaxInt8Inputs;
  std::vector<float> weight(2 * kInputs, 1.0F);
  std::fill_n(weight.begin() + kInputs, kInputs, -1.0F);
  std::vector<char> panels(packed_dense_bytes(WeightType::kInt8, kInputs, 2));
  pack_dense(WeightType::kInt8, weight.data(), kInputs, kInputs, 2, panels.data());
  DenseLayer layer;
  layer.panels = panels.data();
  layer.inputs = kInputs;
  layer.outputs = 2;
  layer.weight_type = WeightType::kInt8;
  for (const float x : {254.0F, -254.0F}) {
    const std::vector<float> row(kInputs, x);
    std::vector<float> quantized(kernels.quantized_words(kInputs));
    kernels.quantize(row.data(), kInputs, 1, kInputs, quantized.data());
    float out[2] = {};
    DenseOutput output;
    output.data = out;
    output.stride = 2;
    output.last_column = 2;
    kernels.dense(layer, quantized.data(), quantized.size(), 1, output);
    const float wanted = x * float(kInputs);
    CHECK(std::fabs(out[0] - wanted) <= 4.0F && std::fabs(out[1] + wanted) <= 4.0F,
          "greatest sums: %.9g and %.9g, not %.9g", out[0], out[1], wanted);
  }
}

void check_selection(const Kernels& kernels, Random& random, std::size_t rows, std::size_t k,
                     std::size_t n) {
  Product product(random, rows, k, n, false);
  const std::size_t words = kernels.quantized_words(k);
  const std::vector<float> input = product.quantized(kernels);
  DenseOutput output;
  output.stride = n;
  output.last_column = n;
  std::vector<float> scores(rows * n);
  output.data = scores.data();
  kernels.dense(product.layer, input.data(), words, rows, output);

  TopKRule rule;
  rule.k = 1 + random.below(30);
  rule.transform = random.coin() ? ActivationKind::kSigmoid : ActivationKind::kIdentity;
  rule.has_threshold = random.coin();
  rule.threshold = random.value();
  const std::size_t keys_a_row = top_k_keys(rule.k);
  std::vector<std::uint64_t> keys(rows * keys_a_row);
  std::vector<float> got_scores(rows * rule.k);
  std::vector<float> wanted_scores(rows * rule.k);
  std::vector<std::int32_t> got(rows * rule.k);
  std::vector<std::int32_t> wanted(rows * rule.k);
  std::vector<TopKState> states(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    states[r].keys = keys.data() + r * keys_a_row;
    kernels.top_k_begin(rule, states[r]);
  }
  kernels.dense_top_k(product.layer, input.data(), words, rows, 0, n, rule, states.data());
  for (std::size_t r = 0; r < rows; ++r) {
    kernels.top_k_finish(rule, states[r], got_scores.data() + r * rule.k, got.data() + r * rule.k);
  }
  kernels.top_k(rule, scores.data(), n, rows, n, keys.data(), wanted_scores.data(), wanted.data());
  CHECK(got == wanted, "%zu x %zu x %zu: selection differs", rows, k, n);
  CHECK(same_bits(got_scores.data(), wanted_scores.data(), got_scores.size()),
        "%zu x %zu x %zu: selected scores differ", rows, k, n);
}

}  // namespace

void test_dense_int8(const Kernels& kernels) {
  Random random(7);
  constexpr std::size_t kRows[] = {0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 23, 24, 25, 30, 50, 150};
  constexpr std::size_t kInner[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 127, 256, 1100};
  constexpr std::size_t kColumns[] = {0, 1, 15, 16, 17, 48, 63, 64, 65, 113, 128, 257, 530};
  for (const std::size_t rows : kRows) {
    for (int round = 0; round < 8; ++round) {
      const std::size_t k = kInner[random.below(std::size(kInner))];
      const std::size_t n = kColumns[random.below(std::size(kColumns))];
      if (rows * k * n > 1000000) continue;
      check_product(kernels, random, rows, k, n, random.coin());
    }
  }
  for (const std::size_t k : kInner) check_product(kernels, random, 13, k, 34, false);
  for (const std::size_t k : kInner) check_product(kernels, random, 20, k, 18, true);
  for (const std::size_t n : kColumns) check_product(kernels, random, 7, 40, n, false);
  for (std::size_t n = 1; n <= 130; ++n) check_product(kernels, random, 1 + n % 7, 5, n, false);
  for (int round = 0; round < 12; ++round) {
    check_selection(kernels, random, 1 + random.below(30), 20, 1 + random.below(1200));
  }
  check_greatest_sums(kernels);
}

void test_pack_int8() {
  // Three inputs, two columns: 127 steps of 2 and of 1/127, and a column's own rounding.
  const float weight[2 * 3] = {254, -3, 2.9F, -1, 0, 0.5F};
  CHECK(packed_dense_bytes(WeightType::kInt8, 3, 2) == 3 * 64, "size");
  CHECK(packed_dense_bytes(WeightType::kInt8, 5, 17) == 2 * 4 * 64, "size");
  Guarded<char> panels(3 * 64);
  pack_dense(WeightType::kInt8, weight, 3, 3, 2, panels.data());
  float steps[16] = {};
  std::int32_t sums[16] = {};
  std::memcpy(steps, panels.data(), sizeof steps);
  std::memcpy(sums, panels.data() + 64, sizeof sums);
  const int wanted[2][4] = {{127, -2, 1, 0}, {-127, 0, 64, 0}};  // -1.5 and 63.5 go to even
  for (std::size_t c = 0; c < 16; ++c) {
    CHECK(steps[c] == (c == 0 ? 2.0F : c == 1 ? 1.0F / 127.0F : 0.0F), "step %zu: %g", c, steps[c]);
    CHECK(sums[c] == (c == 0 ? 126 : c == 1 ? -63 : 0), "sum %zu: %d", c, sums[c]);
    for (std::size_t k = 0; k < 4; ++k) {
      const int got = static_cast<signed char>(panels[128 + c * 4 + k]);
      CHECK(got == (c < 2 ? wanted[c][k] : 0), "int8 panel [%zu][%zu] is %d", k, c, got);
    }
  }
}

}  // namespace testing
