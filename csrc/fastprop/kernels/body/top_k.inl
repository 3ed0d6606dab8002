// Top-k selection. A candidate is one 64-bit key, score above the inverted column, so that a
// greater key is a better candidate and ties need no code. A row keeps its k best keys in a heap,
// the worst on top. `floor` is a value below which no input can enter: whole vectors are passed
// over by one comparison with it, and only what is left is looked at exactly.

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

template <bool kThresholds, bool kAllowed>
FASTPROP_INLINE M admissible(const TopKRule& rule, F floor, F x, std::size_t column) {
  M m = ge(x, floor);
  if (kThresholds) m = both(m, ge(x, load(rule.thresholds + column)));
  if (kAllowed) m = both(m, nonzero_bytes(rule.allowed + column));
  return m;
}

// A value that at least k of the maxima are not below, near the greatest such: by bisection.
float common_bound(const F* maxima, std::size_t n, std::size_t k) {
  F least = maxima[0];
  F greatest = maxima[0];
  for (std::size_t i = 1; i < n; ++i) {
    least = min(maxima[i], least);
    greatest = max(maxima[i], greatest);
  }
  float low = kInfinity;
  float high = -kInfinity;
  float lanes[kLanes];
  store(lanes, least);
  for (std::size_t i = 0; i < kLanes; ++i) low = lanes[i] < low ? lanes[i] : low;
  store(lanes, greatest);
  for (std::size_t i = 0; i < kLanes; ++i) high = lanes[i] > high ? lanes[i] : high;
  for (int step = 0; step < 8; ++step) {
    const float middle = 0.5F * low + 0.5F * high;
    const F bound = set1(middle);
    unsigned count = 0;
    for (std::size_t i = 0; i < n; ++i) count += count_lanes(ge(maxima[i], bound));
    const bool common = count >= k;
    low = common ? middle : low;
    high = common ? high : middle;
  }
  return low;
}

inline constexpr std::size_t kMaxima = 8;

// Raises the floor of a row of which nothing has been seen: to a value that the maxima of at least
// k of the interleaved parts of this block reach. Without it every new high would be a candidate.
template <bool kThresholds, bool kAllowed>
void raise_first_floor(const TopKRule& rule, const float* scores, std::size_t n,
                       std::size_t first_column, TopKState& state) {
  constexpr std::size_t kParts = kMaxima * kLanes;
  if (2 * rule.k > kParts || n < 2 * kParts) return;
  const F floor = set1(state.floor);
  const F lowest = set1(-kInfinity);
  F maxima[kMaxima];
  FASTPROP_UNROLL
  for (std::size_t j = 0; j < kMaxima; ++j) maxima[j] = lowest;
  for (std::size_t i = 0; i + kParts <= n; i += kParts) {
    FASTPROP_UNROLL
    for (std::size_t j = 0; j < kMaxima; ++j) {
      const std::size_t at = i + j * kLanes;
      const F x = load(scores + at);
      // max(x, y) is y where x is NaN.
      maxima[j] =
          kThresholds || kAllowed
              ? max(select(admissible<kThresholds, kAllowed>(rule, floor, x, first_column + at), x,
                           lowest),
                    maxima[j])
              : max(x, maxima[j]);
    }
  }
  float bound = common_bound(maxima, kMaxima, rule.k);
  if (rule.transform == ActivationKind::kSigmoid) {
    // The scores of the k are computed ones: they may be a little below that of the bound.
    float score[kLanes];
    store(score, sigmoid(set1(bound)));
    bound = logit_floor(score[0] * (1.0F - 4e-7F));
  }
  if (bound > state.floor) state.floor = bound;
}

void top_k_begin(const TopKRule& rule, TopKState& state) noexcept {
  state.count = 0;
  state.floor = rule.has_threshold ? floor_of_score(rule, rule.threshold) : -kInfinity;
}

template <bool kThresholds, bool kAllowed>
void scan(const TopKRule& rule, const float* scores, std::size_t n, std::size_t first_column,
          TopKState& state) {
  const bool exact = !(rule.thresholds != nullptr && !kThresholds);
  if (first_column == 0 && state.count == 0 && exact) {
    raise_first_floor<kThresholds, kAllowed>(rule, scores, n, first_column, state);
  }
  constexpr std::size_t kStep = 64;
  std::size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    const F floor = set1(state.floor);
    std::uint64_t candidates = 0;
    FASTPROP_UNROLL
    for (std::size_t j = 0; j < kStep; j += kLanes) {
      const M m = admissible<kThresholds, kAllowed>(rule, floor, load(scores + i + j),
                                                    first_column + i + j);
      candidates |= std::uint64_t{bits(m)} << j;
    }
    offer_candidates(rule, state, scores + i, candidates, first_column + i);
  }
  for (; i < n; i += kLanes) {
    const std::size_t lanes = lesser(n - i, kLanes);
    const F last = load(scores + i, tail(lanes));
    unsigned candidates = bits(ge(last, set1(state.floor))) & ((1U << lanes) - 1U);
    if (kAllowed) {
      for (std::size_t j = 0; j < lanes; ++j) {
        if (rule.allowed[first_column + i + j] == 0) candidates &= ~(1U << j);
      }
    }
    offer_candidates(rule, state, scores + i, candidates, first_column + i);
  }
}

void top_k_update(const TopKRule& rule, const float* scores, std::size_t n,
                  std::size_t first_column, TopKState& state) noexcept {
  if (rule.k == 0) return;
  // Thresholds are of scores; logits cannot be compared with them.
  const bool thresholds = rule.thresholds != nullptr && rule.transform == ActivationKind::kIdentity;
  if (thresholds) {
    rule.allowed != nullptr ? scan<true, true>(rule, scores, n, first_column, state)
                            : scan<true, false>(rule, scores, n, first_column, state);
  } else {
    rule.allowed != nullptr ? scan<false, true>(rule, scores, n, first_column, state)
                            : scan<false, false>(rule, scores, n, first_column, state);
  }
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

void top_k_finish(const TopKRule& rule, TopKState& state, float* out_scores,
                  std::int32_t* out_indices) noexcept {
  sort_keys(state.keys, state.count, state.count == rule.k);
  for (std::size_t i = 0; i < state.count; ++i) {
    out_scores[i] = score_of(state.keys[i]);
    out_indices[i] = static_cast<std::int32_t>(~static_cast<std::uint32_t>(state.keys[i]));
  }
  for (std::size_t i = state.count; i < rule.k; ++i) {
    out_scores[i] = __builtin_nanf("");
    out_indices[i] = -1;
  }
  state.count = 0;
}

void top_k(const TopKRule& rule, const float* scores, std::size_t stride, std::size_t n_rows,
           std::size_t n, std::uint64_t* keys, float* out_scores,
           std::int32_t* out_indices) noexcept {
  for (std::size_t row = 0; row < n_rows; ++row) {
    TopKState state;
    state.keys = keys;
    top_k_begin(rule, state);
    top_k_update(rule, scores + row * stride, n, 0, state);
    top_k_finish(rule, state, out_scores + row * rule.k, out_indices + row * rule.k);
  }
}
