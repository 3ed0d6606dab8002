// Dense layers with weights of 8 bits. A row of the input is quantised to whole steps of its own
// size, at most 254 of them from its least to its greatest element, zero being one of the steps; a
// column of the weight to steps of its own, -127 to 127. The products of the two are added as
// 32-bit integers, exactly, whatever the instructions, and the sum is brought back to floats once:
// sum * the column's step * the row's step + bias, each rounded, nothing fused. So every
// instruction set gives the same bits for the same input.
//
// A lane of a panel holds four weights of neighbouring k, a quad. Without VNNI the bytes of a quad
// are widened to pairs of 16 bits, first and third, second and fourth, whose products cannot
// overflow as those of bytes do in vpmaddubsw.

inline constexpr std::size_t kQuad = 4;
#if defined(FASTPROP_AMX)
inline constexpr std::size_t kQuantizedHeader = 16;    // words: the row's step and zero
inline constexpr std::size_t kQuantizedMultiple = 64;  // inputs, filled up with zeros
#else
inline constexpr std::size_t kQuantizedHeader = 4;
inline constexpr std::size_t kQuantizedMultiple = kLanes;
#endif
inline constexpr float kSteps = 254.0F;  // both halves rounded up are 255 still
inline constexpr float kSmallestStep = 1.17549435e-38F;

#if defined(FASTPROP_VNNI)
// Inputs as bytes from 0, which is why what zero became is subtracted in the end.
struct Quads {
  static constexpr std::size_t kWords = 1;
  static constexpr bool kFromZero = true;

  template <std::size_t kWord>
  static FASTPROP_INLINE I weights(I quads) {
    return quads;
  }
  static FASTPROP_INLINE I add(I sum, I inputs, I weights) {
    return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)weights);
  }
  static FASTPROP_INLINE void store(float* words, I quantized) {
    using Bytes = std::int8_t __attribute__((vector_size(kLanes)));
    const Bytes bytes = __builtin_convertvector(quantized, Bytes);
    std::memcpy(words, &bytes, sizeof bytes);
  }
};
#else
struct Quads {
  static constexpr std::size_t kWords = 2;
  static constexpr bool kFromZero = false;

  template <std::size_t kWord>
  static FASTPROP_INLINE I weights(I quads) {
    const auto pairs = (Pairs)quads;
    return kWord == 0 ? (I)(pairs << 8 >> 8) : (I)(pairs >> 8);
  }
  static FASTPROP_INLINE I add(I sum, I inputs, I weights) {
    return add_pairs(sum, inputs, weights);
  }
  static FASTPROP_INLINE void store(float* words, I quantized) {
    using Halves = std::int16_t __attribute__((vector_size(kLanes * 2)));
    using Whole = std::uint64_t __attribute__((vector_size(kLanes * 2)));
    const auto quads = (Whole) __builtin_convertvector(quantized, Halves);
    const Whole swapped = (quads & 0xFFFF00000000FFFFU) | (quads << 16 & 0x0000FFFF00000000U) |
                          (quads >> 16 & 0x00000000FFFF0000U);
    std::memcpy(words, &swapped, sizeof swapped);
  }
};
#endif

std::size_t quantized_words(std::size_t inputs) noexcept {
  return kQuantizedHeader + (inputs + kQuantizedMultiple - 1) / kQuantizedMultiple *
                                (kQuantizedMultiple / kQuad * Quads::kWords);
}

struct RowBounds {
  float least;
  float greatest;
  bool finite;
};

// Of the elements and zero.
RowBounds row_bounds(const float* in, std::size_t n) {
  F least = zero();
  F greatest = zero();
  F nothing = zero();  // NaN where an element is not finite
  const auto look_at = [&](F x) {
    least = min(x, least);
    greatest = max(x, greatest);
    nothing = madd(x, zero(), nothing);
  };
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) look_at(load(in + i));
  if (i < n) look_at(load(in + i, tail(n - i)));
  float lanes[3][kLanes];
  store(lanes[0], least);
  store(lanes[1], greatest);
  store(lanes[2], nothing);
  RowBounds bounds{0.0F, 0.0F, true};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    bounds.least = lanes[0][lane] < bounds.least ? lanes[0][lane] : bounds.least;
    bounds.greatest = lanes[1][lane] > bounds.greatest ? lanes[1][lane] : bounds.greatest;
    bounds.finite = bounds.finite && lanes[2][lane] == 0.0F;
  }
  return bounds;
}

// x / step, rounded to whole numbers, ties to even.
FASTPROP_INLINE I whole_steps(F x, F steps_a_unit) {
  const F shifted = unfused(x * steps_a_unit) + set1(12582912.0F);  // 1.5 * 2^23
  return (I)shifted - 0x4B400000;
}

void quantize(const float* in, std::size_t stride, std::size_t n_rows, std::size_t inputs,
              float* out) noexcept {
  const std::size_t words = quantized_words(inputs);
  for (std::size_t row = 0; row < n_rows; ++row, in += stride, out += words) {
    const RowBounds bounds = row_bounds(in, inputs);
    float step = bounds.greatest / kSteps - bounds.least / kSteps;
    if (step < kSmallestStep) step = 0.0F;
    // What is not finite makes all of the row's sums NaN.
    const F steps_a_unit = set1(bounds.finite && step > 0.0F ? 1.0F / step : 0.0F);
    const I zeroes = Quads::kFromZero ? -whole_steps(set1(bounds.least), steps_a_unit) : I{};
    const std::int32_t row_zero = bounds.finite ? zeroes[0] : 0;
    if (!bounds.finite) step = __builtin_nanf("");
    std::memset(out, 0, words * sizeof(float));
    std::memcpy(out, &step, sizeof step);
    std::memcpy(out + 1, &row_zero, sizeof row_zero);
    if (!bounds.finite) continue;
    float* to = out + kQuantizedHeader;
    std::size_t i = 0;
    for (; i + kLanes <= inputs; i += kLanes, to += kLanes / kQuad * Quads::kWords) {
      Quads::store(to, whole_steps(load(in + i), steps_a_unit) + zeroes);
    }
    if (i < inputs) {
      Quads::store(to, whole_steps(load(in + i, tail(inputs - i)), steps_a_unit) + zeroes);
    }
  }
}

// Adds the products of a quad, from word `kWord` on. Registers hold the fewer of inputs and
// weights.
template <std::size_t kWord, std::size_t kRows, std::size_t kVectors>
FASTPROP_INLINE void add_quads(const char* panel, std::size_t panel_bytes, const float* input,
                               std::size_t stride, I (&sum)[kRows][kVectors]) {
  const auto weight = [&](std::size_t v) FASTPROP_INLINE_LAMBDA {
    return Quads::weights<kWord>((I)weights<WholeLane>(panel, panel_bytes, v));
  };
  if constexpr (kRows < kVectors) {
    I x[kRows];
    FASTPROP_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) x[r] = (I)set1(input[r * stride + kWord]);
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) {
      const I w = weight(v);
      FASTPROP_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) sum[r][v] = Quads::add(sum[r][v], x[r], w);
    }
  } else {
    I w[kVectors];
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) w[v] = weight(v);
    FASTPROP_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const I x = (I)set1(input[r * stride + kWord]);
      FASTPROP_UNROLL
      for (std::size_t v = 0; v < kVectors; ++v) sum[r][v] = Quads::add(sum[r][v], x, w[v]);
    }
  }
  if constexpr (kWord + 1 < Quads::kWords) {
    // Loaded again, for the registers do not hold the sums and both words' weights.
    __asm__("" : "+r"(panel));
    add_quads<kWord + 1>(panel, panel_bytes, input, stride, sum);
  }
}

// What a sum of whole steps stands for: `column_steps` and `of_weights` are those of its columns,
// `header` is its row's.
FASTPROP_INLINE F scaled_sum(I whole, F column_steps, F of_weights, const float* header) {
  if (Quads::kFromZero) whole -= (I)set1(header[1]) * (I)of_weights;
  return unfused(__builtin_convertvector(whole, F) * column_steps * set1(header[0]));
}

// A panel begins with its columns' steps and the sums of their weights. A tile's panel is what lies
// behind these, its input what lies behind a row's header.
struct Int8Panel {
  static constexpr std::size_t bytes(std::size_t depth) {
    return (2 + (depth + kQuad - 1) / kQuad) * kPanelColumns * 4;
  }
  static constexpr std::size_t kMaxDepth = std::size_t{1} << 40;  // sums stay in registers
  static constexpr bool kIsTiled = false;

  // Not inlined, for its loop to have all registers.
  template <std::size_t kRows, std::size_t kPanels>
  static __attribute__((noinline)) void multiply(const Tile& tile) {
    I sum[kRows][kPanels * kPanelVectors] = {};
    const float* input = tile.input;
    const std::size_t stride = tile.input_stride;
    const char* panel = tile.panel;
    const std::size_t panel_bytes = tile.panel_bytes;
    for (std::size_t k = 0; k < tile.depth; k += kQuad) {
      prefetch_panels<kPanels>(panel, panel_bytes);
      add_quads<0>(panel, panel_bytes, input, stride, sum);
      input += Quads::kWords;
      panel += kPanelColumns * kQuad;
    }
    finish(tile, sum);
  }

  template <std::size_t kRows, std::size_t kVectors>
  static FASTPROP_INLINE void finish(const Tile& tile, const I (&sum)[kRows][kVectors]) {
    FASTPROP_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const float* const header = tile.input + r * tile.input_stride - kQuantizedHeader;
      FASTPROP_UNROLL
      for (std::size_t v = 0; v < kVectors; ++v) {
        const char* const columns = tile.panel - bytes(0);
        const F column_steps = weights<WholeLane>(columns, tile.panel_bytes, v);
        const F of_weights = weights<WholeLane>(columns + kPanelColumns * 4, tile.panel_bytes, v);
        store(tile.stage + r * tile.stage_stride + v * kLanes,
              scaled_sum(sum[r][v], column_steps, of_weights, header) +
                  load(tile.start + r * tile.start_stride + v * kLanes));
      }
    }
  }
};
