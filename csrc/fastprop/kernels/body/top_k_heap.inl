// The order of candidates, and a heap of the best. A candidate is one 64-bit key, score above the
// inverted column, so that a greater key is a better candidate and ties need no code. A row keeps
// its k best keys in a heap, the worst on top.

inline constexpr float kInfinity = __builtin_inff();

FASTPROP_INLINE std::uint32_t to_bits(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}

FASTPROP_INLINE float from_bits(std::uint32_t bits) {
  float x = 0.0F;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Floats in unsigned order; not for NaN.
FASTPROP_INLINE std::uint32_t to_ordered(float x) {
  const std::uint32_t bits = to_bits(x + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

FASTPROP_INLINE float from_ordered(std::uint32_t ordered) {
  return from_bits((ordered & 0x80000000U) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}

FASTPROP_INLINE std::uint64_t to_key(float score, std::size_t column) {
  return std::uint64_t{to_ordered(score)} << 32 | static_cast<std::uint32_t>(~column);
}

FASTPROP_INLINE float score_of(std::uint64_t key) {
  return from_ordered(static_cast<std::uint32_t>(key >> 32));
}

// The least float above x.
FASTPROP_INLINE float next_above(float x) {
  return x == kInfinity ? __builtin_nanf("") : from_ordered(to_ordered(x) + 1);
}

// log(x) of a normal x to 1e-5.
float rough_log(float x) {
  const std::uint32_t bits = to_bits(x);
  const std::uint32_t shifted = bits - 0x3F3504F3U;  // mantissa from sqrt(1/2) to sqrt(2)
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted) >> 23);
  const float m = from_bits((shifted & 0x007FFFFFU) + 0x3F3504F3U);
  const float s = (m - 1.0F) / (m + 1.0F);
  const float u = s * s;
  return exponent * 0.693147181F + 2.0F * s * (1.0F + u * (0.333333333F + u * 0.2F));
}

// A value below every logit whose computed sigmoid is >= score: the inverse of a score three units
// in the last place lower, less the error of `rough_log`.
float logit_floor(float score) {
  if (!(score > 1e-30F)) return -kInfinity;
  if (score > 1.0F) return __builtin_nanf("");
  const float slack = 4e-7F * score;
  return rough_log((score - slack) / (1.0F - score + slack)) - 1e-4F;
}

FASTPROP_INLINE float floor_of_score(const TopKRule& rule, float score) {
  return rule.transform == ActivationKind::kSigmoid ? logit_floor(score) : score;
}

void sift_down(std::uint64_t* keys, std::size_t n, std::size_t hole, std::uint64_t key) {
  for (;;) {
    std::size_t child = 2 * hole + 1;
    if (child >= n) break;
    child += child + 1 < n && keys[child + 1] < keys[child] ? 1 : 0;
    if (keys[child] >= key) break;
    keys[hole] = keys[child];
    hole = child;
  }
  keys[hole] = key;
}

void raise_floor(const TopKRule& rule, TopKState& state) {
  const float above = next_above(score_of(state.keys[0]));
  const float floor = floor_of_score(rule, above);
  if (!(floor < state.floor)) state.floor = floor;
}

void offer(const TopKRule& rule, TopKState& state, float score, std::size_t column) {
  const std::uint64_t key = to_key(score, column);
  if (state.count < rule.k) {
    state.keys[state.count++] = key;
    if (state.count < rule.k) return;
    for (std::size_t i = rule.k / 2; i-- > 0;) sift_down(state.keys, rule.k, i, state.keys[i]);
  } else {
    if (key <= state.keys[0]) return;
    sift_down(state.keys, rule.k, 0, key);
  }
  raise_floor(rule, state);
}

// The inputs of a step whose bits are set have passed the floor as it was; `column` is the first's.
void offer_candidates(const TopKRule& rule, TopKState& state, const float* inputs,
                      std::uint64_t candidates, std::size_t column) {
  for (; candidates != 0; candidates &= candidates - 1) {
    const auto i = static_cast<std::size_t>(__builtin_ctzll(candidates));
    float score = inputs[i];
    if (score < state.floor) continue;
    if (rule.transform == ActivationKind::kSigmoid) score = sigmoid(set1(score))[0];
    if (rule.has_threshold && !(score >= rule.threshold)) continue;
    if (rule.thresholds != nullptr && !(score >= rule.thresholds[column + i])) continue;
    offer(rule, state, score, column + i);
  }
}

// Makes of any number of keys a heap of the k best; fewer stay as they are.
void keep_best(std::size_t k, TopKState& state) {
  if (state.count < k) return;
  std::uint64_t* const keys = state.keys;
  for (std::size_t i = k / 2; i-- > 0;) sift_down(keys, k, i, keys[i]);
  for (std::size_t i = k; i < state.count; ++i) {
    if (keys[i] > keys[0]) sift_down(keys, k, 0, keys[i]);
  }
  state.count = k;
}

// Descending. A short list by insertion; a long one as a heap, whose top goes to the end each time.
void sort_keys(std::uint64_t* keys, std::size_t n, bool is_heap) {
  constexpr std::size_t kInsertion = 48;
  if (n <= kInsertion) {
    for (std::size_t i = 1; i < n; ++i) {
      const std::uint64_t key = keys[i];
      std::size_t j = i;
      for (; j > 0 && keys[j - 1] < key; --j) keys[j] = keys[j - 1];
      keys[j] = key;
    }
    return;
  }
  if (!is_heap) {
    for (std::size_t i = n / 2; i-- > 0;) sift_down(keys, n, i, keys[i]);
  }
  for (std::size_t last = n - 1; last > 0; --last) {
    const std::uint64_t key = keys[last];
    keys[last] = keys[0];
    sift_down(keys, last, 0, key);
  }
}
