// Top-k selection. `floor` is a value below which no input can enter: whole vectors are passed over
// by one comparison with it. What is left is gathered unscored (top_k_gather.inl) or, where that
// does not thin out, goes into a heap of scored keys (top_k_heap.inl).

template <bool kThresholds, bool kAllowed>
FASTPROP_INLINE M admissible(const TopKRule& rule, F floor, F x, std::size_t column) {
  M m = ge(x, floor);
  if (kThresholds) m = both(m, ge(x, load(rule.thresholds + column)));
  if (kAllowed) m = both(m, nonzero_bytes(rule.allowed + column));
  return m;
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
  float inputs[kParts + kLanes];
  FASTPROP_UNROLL
  for (std::size_t j = 0; j < kMaxima; ++j) store(inputs + j * kLanes, maxima[j]);
  const float bound = floor_of_bound(rule, state, common_bound(inputs, kParts, rule.k));
  if (bound > state.floor) state.floor = bound;
}

void top_k_begin(const TopKRule& rule, TopKState& state) noexcept {
  state.count = 0;
  state.slack = 0.0F;
  state.floor = rule.has_threshold ? floor_of_score(rule, rule.threshold) : -kInfinity;
  // Entries are inputs, and thresholds of scores would refuse some that have raised the floor.
  const bool comparable = rule.thresholds == nullptr || rule.transform == ActivationKind::kIdentity;
  state.gathers = comparable && rule.k <= kMaxGatheredK;
}

FASTPROP_INLINE void take_candidates(const TopKRule& rule, TopKState& state, const float* inputs,
                                     std::uint64_t candidates, std::size_t column) {
  if (candidates == 0) return;
  if (state.gathers && state.count + kGatherStep > top_k_keys(rule.k)) {
    thin_out(rule, state);
    if (state.count + kGatherStep > top_k_keys(rule.k)) {
      state.slack > 0.0F ? give_up_screening(state) : leave_to_heap(rule, state);
    }
  }
  if (state.gathers) {
    gather_candidates(state, inputs, candidates, column);
  } else if (state.slack == 0.0F) {
    offer_candidates(rule, state, inputs, candidates, column);
  }
}

template <bool kThresholds, bool kAllowed>
void scan(const TopKRule& rule, const float* scores, std::size_t n, std::size_t first_column,
          TopKState& state) {
  const bool exact = !(rule.thresholds != nullptr && !kThresholds);
  if (first_column == 0 && state.count == 0 && exact) {
    raise_first_floor<kThresholds, kAllowed>(rule, scores, n, first_column, state);
  }
  std::size_t i = 0;
  for (; i + kGatherStep <= n; i += kGatherStep) {
    const F floor = set1(state.floor);
    std::uint64_t candidates = 0;
    FASTPROP_UNROLL
    for (std::size_t j = 0; j < kGatherStep; j += kLanes) {
      const M m = admissible<kThresholds, kAllowed>(rule, floor, load(scores + i + j),
                                                    first_column + i + j);
      candidates |= std::uint64_t{bits(m)} << j;
    }
    take_candidates(rule, state, scores + i, candidates, first_column + i);
  }
  for (; i < n; i += kLanes) {
    const std::size_t lanes = lesser(n - i, kLanes);
    const F last = load(scores + i, tail(lanes));
    unsigned candidates = bits(ge(last, set1(state.floor))) & ((1U << lanes) - 1U);
    for (std::size_t j = 0; j < lanes; ++j) {
      const std::size_t column = first_column + i + j;
      if (kThresholds && !(scores[i + j] >= rule.thresholds[column])) candidates &= ~(1U << j);
      if (kAllowed && rule.allowed[column] == 0) candidates &= ~(1U << j);
    }
    take_candidates(rule, state, scores + i, candidates, first_column + i);
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

void top_k_finish(const TopKRule& rule, TopKState& state, float* out_scores,
                  std::int32_t* out_indices) noexcept {
  if (state.gathers) {
    thin_out(rule, state);
    score_entries(rule, state);
    keep_best(rule.k, state);
  }
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
