// Selection against a sort of everything admissible: ties, infinities, NaN, thresholds, masks, k
// from 1 past n; in one piece and in blocks; of scores and of logits.

#include <algorithm>

#include "testing.hpp"

namespace testing {
namespace {

struct Selected {
  std::vector<float> scores;
  std::vector<std::int32_t> indices;
};

Selected select_by_sorting(const TopKRule& rule, const std::vector<float>& scores) {
  std::vector<std::int32_t> order;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) continue;
    if (rule.has_threshold && !(scores[i] >= rule.threshold)) continue;
    if (rule.thresholds != nullptr && !(scores[i] >= rule.thresholds[i])) continue;
    if (rule.allowed != nullptr && rule.allowed[i] == 0) continue;
    order.push_back(static_cast<std::int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  Selected result{std::vector<float>(rule.k, std::nanf("")), std::vector<std::int32_t>(rule.k, -1)};
  for (std::size_t i = 0; i < std::min(rule.k, order.size()); ++i) {
    result.indices[i] = order[i];
    result.scores[i] = scores[static_cast<std::size_t>(order[i])];
  }
  return result;
}

float random_score(Random& random, unsigned style) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  switch (style) {
    case 0:
      return random.value(6);
    case 1:  // many ties
      return static_cast<float>(static_cast<int>(random.below(9)) - 4);
    case 2: {  // everything there is
      const float special[] = {kInfinite, -kInfinite, std::nanf(""), 0.0F, -0.0F, 1e-42F};
      return random.below(3) == 0 ? special[random.below(6)] : random.value(100);
    }
    case 3:  // sigmoids that are one, or next to it
      return 15.0F + random.value(4);
    default:
      return 1.0F;
  }
}

void check_same(const TopKRule& rule, const Selected& got, const Selected& wanted, std::size_t n,
                const char* form) {
  for (std::size_t i = 0; i < rule.k; ++i) {
    const bool same_score = got.scores[i] == wanted.scores[i] ||
                            (std::isnan(got.scores[i]) && std::isnan(wanted.scores[i]));
    CHECK(got.indices[i] == wanted.indices[i] && same_score,
          "%s, k %zu of %zu, place %zu: %d (%g), not %d (%g)", form, rule.k, n, i, got.indices[i],
          got.scores[i], wanted.indices[i], wanted.scores[i]);
  }
}

void check_selection(const Kernels& kernels, Random& random) {
  const std::size_t n = random.below(3) == 0 ? random.below(20) : random.below(700);
  const auto style = static_cast<unsigned>(random.below(5));
  std::vector<float> input(n);
  for (float& x : input) x = random_score(random, style);
  const unsigned order = static_cast<unsigned>(random.below(6));
  if (order < 2 && style != 2) std::sort(input.begin(), input.end());
  if (order == 1 && style != 2) std::reverse(input.begin(), input.end());

  TopKRule rule;
  rule.k = random.coin() ? 1 + random.below(25) : 1 + random.below(n + 5);
  rule.transform = random.coin() ? ActivationKind::kSigmoid : ActivationKind::kIdentity;
  const bool logits = rule.transform == ActivationKind::kSigmoid;
  rule.has_threshold = random.below(3) == 0;
  rule.threshold = logits ? static_cast<float>(random.uniform()) : random.value(6);
  if (random.below(8) == 0) rule.threshold = random_score(random, 2);
  std::vector<float> thresholds(n);
  for (float& x : thresholds) x = logits ? static_cast<float>(random.uniform()) : random.value(6);
  if (random.below(3) == 0) rule.thresholds = thresholds.data();
  std::vector<std::uint8_t> allowed(n);
  for (std::uint8_t& x : allowed)
    x = random.below(3) == 0 ? 0 : static_cast<std::uint8_t>(random.below(256));
  if (random.below(3) == 0) rule.allowed = allowed.data();

  std::vector<float> scores(n);
  Activation activation;
  activation.kind = rule.transform;
  scores = input;
  kernels.activate(activation, input.data(), n, scores.data());
  const Selected wanted = select_by_sorting(rule, scores);

  Guarded<float> guarded(n);
  std::copy(input.begin(), input.end(), guarded.data());
  Guarded<std::uint64_t> keys(top_k_keys(rule.k));
  Selected got{std::vector<float>(rule.k), std::vector<std::int32_t>(rule.k)};
  kernels.top_k(rule, guarded.data(), n, 1, n, keys.data(), got.scores.data(), got.indices.data());
  check_same(rule, got, wanted, n, "whole");

  TopKState state;
  state.keys = keys.data();
  kernels.top_k_begin(rule, state);
  for (std::size_t first = 0; first < n;) {
    const std::size_t block = std::min(n - first, 1 + random.below(random.coin() ? 20 : 300));
    const std::vector<float> copy(input.begin() + std::ptrdiff_t(first),
                                  input.begin() + std::ptrdiff_t(first + block));
    kernels.top_k_update(rule, copy.data(), block, first, state);
    first += block;
  }
  kernels.top_k_finish(rule, state, got.scores.data(), got.indices.data());
  check_same(rule, got, wanted, n, "blocks");
}

void check_rows(const Kernels& kernels) {
  Random random(13);
  constexpr std::size_t kRows = 5;
  constexpr std::size_t kColumns = 77;
  constexpr std::size_t kStride = 80;
  std::vector<float> scores(kRows * kStride, 1e9F);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kColumns; ++c) scores[r * kStride + c] = random.value();
  }
  TopKRule rule;
  rule.k = 4;
  std::vector<std::uint64_t> keys(top_k_keys(rule.k));
  Selected got{std::vector<float>(kRows * 4), std::vector<std::int32_t>(kRows * 4)};
  kernels.top_k(rule, scores.data(), kStride, kRows, kColumns, keys.data(), got.scores.data(),
                got.indices.data());
  for (std::size_t r = 0; r < kRows; ++r) {
    const auto row = scores.begin() + std::ptrdiff_t(r * kStride);
    const Selected wanted = select_by_sorting(rule, std::vector<float>(row, row + kColumns));
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(got.indices[r * 4 + i] == wanted.indices[i], "row %zu, place %zu", r, i);
    }
  }
}

}  // namespace

void test_top_k(const Kernels& kernels) {
  Random random(17);
  for (int round = 0; round < 4000; ++round) check_selection(kernels, random);
  check_rows(kernels);
}

}  // namespace testing
