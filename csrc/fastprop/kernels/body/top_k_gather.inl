// The first half of a top-k selection: inputs that may be among the best are gathered as they are,
// each as one 64-bit entry, the input above the inverted column. Only when the entries are full,
// and at the end, a bound is found that at least k of them reach, and what is below it is dropped;
// the bound is the floor for all that follows. No score is computed and nothing is sorted until
// then.

FASTPROP_INLINE std::uint64_t to_entry(float input, std::size_t column) {
  return std::uint64_t{to_bits(input)} << 32 | static_cast<std::uint32_t>(~column);
}

FASTPROP_INLINE float input_of(std::uint64_t entry) {
  return from_bits(static_cast<std::uint32_t>(entry >> 32));
}

FASTPROP_INLINE std::size_t column_of(std::uint64_t entry) {
  return static_cast<std::uint32_t>(~static_cast<std::uint32_t>(entry));
}

// What inputs are not below a value that the best k reach: as inputs have it, or by their scores,
// which are computed ones and may be a little out of order.
FASTPROP_INLINE float floor_below(const TopKRule& rule, float bound) {
  if (rule.transform != ActivationKind::kSigmoid) return bound;
  float score[kLanes];
  store(score, sigmoid(set1(bound)));
  return logit_floor(score[0] * (1.0F - 4e-7F));
}

// The floor where k inputs are not below `bound`, and any may be off by the slack.
FASTPROP_INLINE float floor_of_bound(const TopKRule& rule, const TopKState& state, float bound) {
  return floor_below(rule, bound - state.slack) - state.slack;
}

// A value that at least k of n inputs are not below, near the greatest such: by bisection between
// the least and the greatest. Where k inputs are not finite, -infinity. The inputs are followed by
// room for a whole vector, which is written to.
float common_bound(float* inputs, std::size_t n, std::size_t k) {
  constexpr float kLargest = __FLT_MAX__;
  const std::size_t vectors = (n + kLanes - 1) / kLanes;
  // Once with what changes no maximum, once with what changes no minimum and is never counted.
  store(inputs + n, set1(inputs[0]));
  F least = load(inputs);
  F greatest = least;
  for (std::size_t i = 1; i < vectors; ++i) {
    const F x = load(inputs + i * kLanes);
    least = min(x, least);
    greatest = max(x, greatest);
  }
  store(inputs + n, set1(-kInfinity));
  float lanes[2][kLanes];
  store(lanes[0], least);
  store(lanes[1], greatest);
  float low = lanes[0][0];
  float high = lanes[1][0];
  for (std::size_t i = 1; i < kLanes; ++i) {
    low = lanes[0][i] < low ? lanes[0][i] : low;
    high = lanes[1][i] > high ? lanes[1][i] : high;
  }
  low = low > -kLargest ? low : -kLargest;
  high = high < kLargest ? high : kLargest;
  float middle = low;
  for (int step = 0; step < 9; ++step) {
    const F bound = set1(middle);
    unsigned count = 0;
    for (std::size_t i = 0; i < vectors; ++i) {
      count += count_lanes(ge(load(inputs + i * kLanes), bound));
    }
    const bool common = count >= k;
    if (step == 0 && !common) return -kInfinity;
    low = common ? middle : low;
    high = common ? high : middle;
    middle = 0.5F * low + 0.5F * high;
  }
  return low;
}

// Raises the floor as far as the entries allow, and drops those that it has left behind.
void thin_out(const TopKRule& rule, TopKState& state) {
  if (state.count <= rule.k) return;
  float inputs[top_k_keys(kMaxGatheredK) + kLanes];
  const std::size_t n = state.count;
  for (std::size_t i = 0; i < n; ++i) inputs[i] = input_of(state.keys[i]);
  const float floor = floor_of_bound(rule, state, common_bound(inputs, n, rule.k));
  if (!(floor > state.floor)) return;
  state.floor = floor;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t entry = state.keys[i];
    state.keys[kept] = entry;
    kept += inputs[i] >= floor ? 1 : 0;
  }
  state.count = kept;
}

// Too many columns of a screen can be among the best: the row takes no more of them.
FASTPROP_INLINE void give_up_screening(TopKState& state) {
  state.slack = 1.0F;
  state.gathers = false;
  state.count = 0;
}

// Makes the entries candidates of the heap, which takes their place.
void leave_to_heap(const TopKRule& rule, TopKState& state) {
  const std::size_t n = state.count;
  state.gathers = false;
  state.count = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t entry = state.keys[i];
    const float input = input_of(entry);
    offer_candidates(rule, state, &input, 1, column_of(entry));
  }
}

// The inputs of a step whose bits are set have passed the floor, and thresholds of inputs.
FASTPROP_INLINE void gather_candidates(TopKState& state, const float* inputs,
                                       std::uint64_t candidates, std::size_t column) {
  for (; candidates != 0; candidates &= candidates - 1) {
    const auto i = static_cast<std::size_t>(__builtin_ctzll(candidates));
    state.keys[state.count++] = to_entry(inputs[i], column + i);
  }
}

// Puts the keys of the entries in their place, leaving out what a threshold refuses.
void score_entries(const TopKRule& rule, TopKState& state) {
  const std::size_t n = state.count;
  state.count = 0;
  for (std::size_t begin = 0; begin < n; begin += kLanes) {
    const std::size_t lanes = lesser(n - begin, kLanes);
    std::uint32_t columns[kLanes];
    float scores[kLanes] = {};
    for (std::size_t i = 0; i < lanes; ++i) {
      columns[i] = static_cast<std::uint32_t>(column_of(state.keys[begin + i]));
      scores[i] = input_of(state.keys[begin + i]);
    }
    if (rule.transform == ActivationKind::kSigmoid) store(scores, sigmoid(load(scores)));
    for (std::size_t i = 0; i < lanes; ++i) {
      if (rule.has_threshold && !(scores[i] >= rule.threshold)) continue;
      state.keys[state.count++] = to_key(scores[i], columns[i]);
    }
  }
}
