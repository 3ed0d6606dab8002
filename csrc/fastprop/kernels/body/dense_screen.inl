// Selection by a screen: rough products of all columns on tiles, from which each row gathers the
// columns that can be among its best although every rough sum may be off by `slack`; then the exact
// sums of these. A row for which they are too many is multiplied whole.

// Of a row's rough sums; infinite or NaN where a row has no bound.
float screen_slack(const DenseScreen& screen, const float* x, std::size_t n) {
  F squares = zero();
  F lost = zero();
  const auto look_at = [&](F part) FASTPROP_INLINE_LAMBDA {
    const F off = part - nearest_bf16(part);
    squares = madd(part, part, squares);
    lost = madd(off, off, lost);
  };
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) look_at(load(x + i));
  if (i < n) look_at(load(x + i, tail(n - i)));
  float lanes[2][kLanes];
  store(lanes[0], squares);
  store(lanes[1], lost);
  float sums[2] = {};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    sums[0] += lanes[0][lane];
    sums[1] += lanes[1][lane];
  }
  // Squares below the normal numbers may have been lost.
  constexpr float kTiny = 1e-16F;
  const float norm = __builtin_sqrtf(sums[0]) + kTiny;
  const float lost_norm = __builtin_sqrtf(sums[1]) + kTiny;
  return 1.001F * (screen.per_input * norm + screen.per_rounding * lost_norm) + screen.fixed;
}

// Puts the exact inputs in the place of the rough ones. As in `dense` a sum starts from its bias
// and takes the products in the order of k.
void make_exact(const DenseLayer& layer, const float* x, TopKState& state) {
  constexpr std::size_t kAtOnce = 8;
  for (std::size_t begin = 0; begin < state.count; begin += kAtOnce) {
    const std::size_t n = lesser(state.count - begin, kAtOnce);
    std::size_t column[kAtOnce];
    const float* weight[kAtOnce];
    float sum[kAtOnce];
    for (std::size_t i = 0; i < kAtOnce; ++i) {
      column[i] = column_of(state.keys[begin + lesser(i, n - 1)]);
      weight[i] = layer.screen->weight + column[i] * layer.inputs;
      sum[i] = layer.bias != nullptr ? layer.bias[column[i]] : 0.0F;
    }
    for (std::size_t k = 0; k < layer.inputs; ++k) {
      FASTPROP_UNROLL
      for (std::size_t i = 0; i < kAtOnce; ++i) {
        sum[i] = __builtin_fmaf(x[k], weight[i][k], sum[i]);
      }
    }
    for (std::size_t i = 0; i < n; ++i) state.keys[begin + i] = to_entry(sum[i], column[i]);
  }
}

void screened_top_k(const DenseLayer& layer, const float* input, std::size_t input_stride,
                    std::size_t n_rows, const TopKRule& rule, TopKState* states) {
  for (std::size_t row = 0; row < n_rows; ++row) {
    TopKState& state = states[row];
    state.slack = screen_slack(*layer.screen, input + row * input_stride, layer.inputs);
    if (!(state.slack < __FLT_MAX__)) give_up_screening(state);
    state.floor -= state.slack;
  }
  DenseLayer rough = layer;
  rough.panels = layer.screen->panels;
  SelectSink screening(rule, states);
  tiled_blocks<Bfloat16Tiles<1>>(rough, input, input_stride, n_rows, 0, layer.outputs, screening);
  for (std::size_t row = 0; row < n_rows; ++row) {
    TopKState& state = states[row];
    const float* const x = input + row * input_stride;
    if (state.gathers) {
      thin_out(rule, state);
      state.slack = 0.0F;
      make_exact(layer, x, state);
    } else {
      top_k_begin(rule, state);
      SelectSink whole(rule, &state);
      dense_blocks<Float32Panel>(layer, x, input_stride, 1, 0, layer.outputs, whole);
    }
  }
}
