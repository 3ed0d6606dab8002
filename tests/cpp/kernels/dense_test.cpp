// The dense layer against double precision, for shapes on both sides of every tile and block; the
// same bits whatever the number of rows and the split of columns; selection in the product.

#include <algorithm>

#include "testing.hpp"

namespace testing {
namespace {

struct Product {
  Product(Random& random, WeightType type, std::size_t rows, std::size_t k, std::size_t n)
      : rows(rows),
        input_stride(k + random.below(3)),
        weight(n * k),
        panels(packed_dense_bytes(type, k, n)),
        bias(n),
        input(rows == 0 ? 0 : (rows - 1) * input_stride + k),
        exact_sum(rows * n),
        terms(rows * n) {
    const std::size_t weight_stride = k + random.below(3);
    std::vector<float> matrix(n * weight_stride + 1);
    for (float& w : matrix) w = random.value();
    pack_dense(type, matrix.data(), weight_stride, k, n, panels.data());
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = random.value();
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = random.value();
    layer.panels = panels.data();
    layer.inputs = k;
    layer.outputs = n;
    layer.weight_type = type;
    if (random.below(4) != 0) layer.bias = bias.data();
    const bool half = type == WeightType::kBfloat16;
    for (float& w : matrix) w = half ? through_bf16(w) : w;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < n; ++c) {
        double sum = layer.bias != nullptr ? double{bias[c]} : 0.0;
        double size = std::fabs(sum);
        for (std::size_t i = 0; i < k; ++i) {
          const double term =
              double{input[r * input_stride + i]} * double{matrix[c * weight_stride + i]};
          sum += term;
          size += std::fabs(term);
        }
        exact_sum[r * n + c] = sum;
        terms[r * n + c] = size;
      }
    }
  }

  std::size_t rows;
  std::size_t input_stride;
  std::vector<float> weight;
  Guarded<char> panels;
  Guarded<float> bias;
  Guarded<float> input;
  std::vector<double> exact_sum;
  std::vector<double> terms;
  DenseLayer layer;
};

constexpr float kUntouched = 12345.0F;

void check_product(const Kernels& kernels, Random& random, WeightType type, std::size_t rows,
                   std::size_t k, std::size_t n) {
  // Two bf16 are an input to 2^-16.
  const bool rounded = kernels.isa == Isa::kAmx && type == WeightType::kBfloat16;
  Product product(random, type, rows, k, n);
  DenseLayer& layer = product.layer;
  constexpr ActivationKind kKinds[] = {ActivationKind::kIdentity, ActivationKind::kRelu,
                                       ActivationKind::kSigmoid, ActivationKind::kPRelu};
  layer.activation.kind = kKinds[random.below(4)];
  layer.activation.slopes = product.bias.data();

  DenseOutput output;
  output.stride = n + random.below(40);
  std::vector<float> memory(rows * output.stride + 24, kUntouched);
  output.data = memory.data() + random.below(17);
  output.last_column = n;
  output.streaming = random.coin();
  kernels.dense(layer, product.input.data(), product.input_stride, rows, output);

  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < n; ++c) {
      const double wanted = exact(layer.activation, product.exact_sum[r * n + c], c);
      const double allowed = 6e-8 * product.terms[r * n + c] * (2.0 + std::sqrt(double(k))) +
                             (rounded ? 1.53e-5 * product.terms[r * n + c] : 0.0) + 3e-7;
      const float got = output.data[r * output.stride + c];
      CHECK(std::fabs(double{got} - wanted) <= allowed, "%zu x %zu x %zu, [%zu, %zu]: %g, not %g",
            rows, k, n, r, c, got, wanted);
    }
  }
  std::size_t written = 0;
  for (const float x : memory) written += x != kUntouched ? 1 : 0;
  CHECK(written == rows * n, "%zu x %zu x %zu: %zu written", rows, k, n, written);

  // The same bits in another cut: some rows, some columns, other alignment.
  if (rows == 0 || n == 0) return;
  const std::size_t first_row = random.below(rows);
  const std::size_t n_rows = 1 + random.below(rows - first_row);
  DenseOutput part;
  part.first_column = random.below((n + kPanelColumns - 1) / kPanelColumns) * kPanelColumns;
  part.last_column = part.first_column + random.below(n - part.first_column + 1);
  part.stride = n;
  part.streaming = random.coin();
  std::vector<float> again(n_rows * n, kUntouched);
  part.data = again.data();
  kernels.dense(layer, product.input.data() + first_row * product.input_stride,
                product.input_stride, n_rows, part);
  for (std::size_t r = 0; r < n_rows; ++r) {
    for (std::size_t c = 0; c < n; ++c) {
      const bool inside = c >= part.first_column && c < part.last_column;
      const float wanted = inside ? output.data[(first_row + r) * output.stride + c] : kUntouched;
      CHECK(same_bits(&again[r * n + c], &wanted, 1), "%zu x %zu x %zu: [%zu, %zu] differs in part",
            rows, k, n, first_row + r, c);
    }
  }
}

void check_selection(const Kernels& kernels, Random& random, WeightType type, std::size_t rows,
                     std::size_t k, std::size_t n) {
  Product product(random, type, rows, k, n);
  DenseOutput output;
  output.stride = n;
  output.last_column = n;
  std::vector<float> scores(rows * n);
  output.data = scores.data();
  kernels.dense(product.layer, product.input.data(), product.input_stride, rows, output);

  TopKRule rule;
  rule.k = 1 + random.below(30);
  rule.transform = random.coin() ? ActivationKind::kSigmoid : ActivationKind::kIdentity;
  rule.has_threshold = random.coin();
  rule.threshold = random.value();
  std::vector<std::uint64_t> keys(rows * top_k_keys(rule.k));
  std::vector<TopKState> states(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    states[r].keys = keys.data() + r * top_k_keys(rule.k);
    kernels.top_k_begin(rule, states[r]);
  }
  const std::size_t middle = random.below(n / kPanelColumns + 1) * kPanelColumns;
  kernels.dense_top_k(product.layer, product.input.data(), product.input_stride, rows, 0, middle,
                      rule, states.data());
  kernels.dense_top_k(product.layer, product.input.data(), product.input_stride, rows, middle, n,
                      rule, states.data());
  std::vector<float> got_scores(rows * rule.k);
  std::vector<std::int32_t> got_indices(rows * rule.k);
  for (std::size_t r = 0; r < rows; ++r) {
    kernels.top_k_finish(rule, states[r], got_scores.data() + r * rule.k,
                         got_indices.data() + r * rule.k);
  }
  std::vector<float> wanted_scores(rows * rule.k);
  std::vector<std::int32_t> wanted_indices(rows * rule.k);
  kernels.top_k(rule, scores.data(), n, rows, n, keys.data(), wanted_scores.data(),
                wanted_indices.data());
  CHECK(got_indices == wanted_indices, "%zu x %zu x %zu: selection differs", rows, k, n);
  CHECK(same_bits(got_scores.data(), wanted_scores.data(), got_scores.size()),
        "%zu x %zu x %zu: selected scores differ", rows, k, n);
}

// What a row or a column may be for a screen to have no bound, or none that leaves anything out.
enum class Odd { kNothing, kZeroRows, kEqualColumns, kLarge, kSmall, kInfiniteRow, kNanWeight };

void make_odd(Odd odd, std::size_t rows, std::size_t k, std::size_t n, std::vector<float>& input,
              std::vector<float>& weight) {
  switch (odd) {
    case Odd::kNothing:
      return;
    case Odd::kZeroRows:
      std::fill_n(input.begin(), rows / 2 * k, 0.0F);
      return;
    case Odd::kEqualColumns:
      for (std::size_t c = 1; c < n; ++c) {
        std::copy_n(weight.begin(), k, weight.begin() + long(c * k));
      }
      return;
    case Odd::kLarge:
      for (float& x : input) x *= 1e25F;
      for (float& w : weight) w *= 1e13F;
      return;
    case Odd::kSmall:
      for (float& x : input) x *= 1e-22F;
      for (float& w : weight) w *= 1e-20F;
      return;
    case Odd::kInfiniteRow:
      input[rows / 2 * k] = std::numeric_limits<float>::infinity();
      input[rows / 3 * k] = std::nanf("");
      return;
    case Odd::kNanWeight:
      weight[n / 2 * k] = std::nanf("");
      return;
  }
}

// A selection by a screen is that without it.
void check_screen(const Kernels& kernels, Random& random, std::size_t rows, std::size_t k,
                  std::size_t n, Odd odd) {
  std::vector<float> input(rows * k);
  std::vector<float> weight(n * k);
  std::vector<float> bias(n);
  for (float& x : input) x = std::max(random.value(), 0.0F);
  for (float& w : weight) w = random.value();
  for (float& b : bias) b = random.value();
  make_odd(odd, rows, k, n, input, weight);
  Guarded<char> panels(packed_dense_bytes(WeightType::kFloat32, k, n));
  pack_dense(WeightType::kFloat32, weight.data(), k, k, n, panels.data());
  DenseLayer layer;
  layer.panels = panels.data();
  layer.inputs = k;
  layer.outputs = n;
  if (random.below(4) != 0) layer.bias = bias.data();
  Guarded<char> rough(packed_dense_bytes(WeightType::kBfloat16, k, n));
  Guarded<float> plain(n * k);
  const DenseScreen screen = make_screen(layer, rough.data(), plain.data());
  CHECK(same_bits(plain.data(), weight.data(), n * k), "%zu x %zu: weights differ", k, n);

  TopKRule rule;
  rule.k = 1 + random.below(64);
  rule.transform = random.coin() ? ActivationKind::kSigmoid : ActivationKind::kIdentity;
  rule.has_threshold = random.coin();
  rule.threshold = random.value();
  std::vector<std::uint8_t> allowed(n + kPanelColumns);
  for (std::uint8_t& a : allowed) a = random.below(3) != 0 ? 1 : 0;
  if (random.below(3) == 0) rule.allowed = allowed.data();

  std::vector<std::uint64_t> keys(rows * top_k_keys(rule.k));
  std::vector<TopKState> states(rows);
  std::vector<float> scores[2];
  std::vector<std::int32_t> indices[2];
  for (const bool screened : {false, true}) {
    layer.screen = screened ? &screen : nullptr;
    for (std::size_t r = 0; r < rows; ++r) {
      states[r].keys = keys.data() + r * top_k_keys(rule.k);
      kernels.top_k_begin(rule, states[r]);
    }
    kernels.dense_top_k(layer, input.data(), k, rows, 0, n, rule, states.data());
    scores[screened].resize(rows * rule.k);
    indices[screened].resize(rows * rule.k);
    for (std::size_t r = 0; r < rows; ++r) {
      kernels.top_k_finish(rule, states[r], scores[screened].data() + r * rule.k,
                           indices[screened].data() + r * rule.k);
    }
  }
  CHECK(indices[0] == indices[1], "%zu x %zu x %zu, odd %d: selection differs", rows, k, n,
        static_cast<int>(odd));
  CHECK(same_bits(scores[0].data(), scores[1].data(), scores[0].size()),
        "%zu x %zu x %zu, odd %d: selected scores differ", rows, k, n, static_cast<int>(odd));
}

void test_screens(const Kernels& kernels) {
  if (!uses_screens(kernels.isa)) return;
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    const std::size_t n = 1 + random.below(round % 2 == 0 ? 3000 : 300);
    check_screen(kernels, random, 1 + random.below(50), 1 + random.below(300), n, Odd::kNothing);
  }
  for (const Odd odd : {Odd::kZeroRows, Odd::kEqualColumns, Odd::kLarge, Odd::kSmall,
                        Odd::kInfiniteRow, Odd::kNanWeight}) {
    for (int round = 0; round < 10; ++round) {
      check_screen(kernels, random, 1 + random.below(50), 1 + random.below(200),
                   1 + random.below(1000), odd);
    }
  }
}

}  // namespace

void test_dense(const Kernels& kernels) {
  test_screens(kernels);
  Random random(5);
  constexpr std::size_t kRows[] = {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 24, 25, 30, 50};
  constexpr std::size_t kInner[] = {0, 1, 2, 3, 16, 33, 64, 127, 256, 257, 513, 1100};
  constexpr std::size_t kColumns[] = {0, 1, 15, 16, 17, 48, 63, 64, 65, 113, 128, 511, 512, 530};
  for (const WeightType type : {WeightType::kFloat32, WeightType::kBfloat16}) {
    for (const std::size_t rows : kRows) {
      for (int round = 0; round < 8; ++round) {
        const std::size_t k = kInner[random.below(std::size(kInner))];
        const std::size_t n = kColumns[random.below(std::size(kColumns))];
        if (rows * k * n > 4000000) continue;
        check_product(kernels, random, type, rows, k, n);
      }
    }
    for (const std::size_t k : kInner) check_product(kernels, random, type, 13, k, 66);
    for (const std::size_t n : kColumns) check_product(kernels, random, type, 7, 40, n);
    for (std::size_t n = 1; n <= 130; ++n) check_product(kernels, random, type, 1 + n % 7, 5, n);
    for (int round = 0; round < 12; ++round) {
      check_selection(kernels, random, type, 1 + random.below(30), 20, 1 + random.below(1200));
    }
  }
}

void test_pack() {
  const float weight[2 * 3] = {1, 2, 3, 4, 5, 6};
  for (const WeightType type : {WeightType::kFloat32, WeightType::kBfloat16}) {
    const bool half = type == WeightType::kBfloat16;
    CHECK(packed_dense_bytes(type, 3, 2) == (half ? 2 : 3) * 64, "size");
    CHECK(packed_dense_bytes(type, 3, 17) == (half ? 2 : 3) * 128, "size");
    Guarded<char> panels(packed_dense_bytes(type, 3, 2));
    pack_dense(type, weight, 3, 3, 2, panels.data());
    for (std::size_t k = 0; k < 4; ++k) {
      for (std::size_t c = 0; c < 16; ++c) {
        const float wanted = c < 2 && k < 3 ? weight[c * 3 + k] : 0.0F;
        if (half) {
          std::uint16_t x = 0;
          std::memcpy(&x, panels.data() + (k / 2 * 32 + c * 2 + k % 2) * 2, sizeof x);
          CHECK(from_bf16(x) == wanted, "bf16 panel [%zu][%zu] is %g", k, c, from_bf16(x));
        } else if (k < 3) {
          float x = 0;
          std::memcpy(&x, panels.data() + (k * 16 + c) * 4, sizeof x);
          CHECK(x == wanted, "panel [%zu][%zu] is %g", k, c, x);
        }
      }
    }
  }
  // Halfway cases go to even; the largest float becomes infinity; NaN remains.
  CHECK(through_bf16(1.00390625F) == 1.0F, "tie down");
  CHECK(through_bf16(1.01171875F) == 1.015625F, "tie up");
  CHECK(std::isinf(through_bf16(std::numeric_limits<float>::max())), "overflow");
  const std::uint32_t nan_bits = 0x7FFFFFFFU;
  float nan = 0;
  std::memcpy(&nan, &nan_bits, sizeof nan);
  CHECK(std::isnan(through_bf16(nan)), "NaN");
}

}  // namespace testing
