// Dense layers with bf16 or int8 weights on AMX's tiles. As in dense.inl the columns are taken in
// blocks, the rows in groups, a finished group's stage going to the sink in pieces between the
// products of the next. A group is two rows of tiles; products are made for two panels at once, so
// that each tile that is loaded is multiplied twice. 16 rows of a panel are a tile of weights as
// they are; what is left of a panel is copied and filled up with zeros once a block.

inline constexpr std::size_t kTileSide = 16;
inline constexpr std::size_t kTileBytes = 1024;
inline constexpr std::size_t kTiledGroup = 2 * kTileSide;
inline constexpr std::size_t kMaxBlockPanels = kMaxBlockColumns / kPanelColumns;

struct TiledProduct {
  const float* input;
  std::size_t input_stride;
  const char* panel;  // of whole tiles
  std::size_t panel_bytes;
  const char* rest;  // the last tile of each panel; nullptr: panels are whole tiles
  std::size_t tiles;
  const float* start;  // where the sums start from: the bias, or the stage
  std::size_t start_stride;
  float* stage;
  std::size_t stage_stride;

  void move_panels(std::size_t panels) {
    panel += panels * panel_bytes;
    if (rest != nullptr) rest += panels * kTileBytes;
    start += panels * kPanelColumns;
    stage += panels * kPanelColumns;
  }
};

// The input is the sum of kTermCount bf16, one or two, whose rows follow each other.
template <std::size_t kTermCount>
struct Bfloat16Tiles {
  using Panel = Bfloat16Panel;
  static constexpr bool kIsTiled = true;
  static constexpr std::size_t kMaxDepth = kDepth;
  static constexpr std::size_t kTerms = kTermCount;
  static constexpr std::size_t kTermStride = kDepth / 2;
  // An odd number of cache lines.
  static constexpr std::size_t kPreparedStride = kTerms * kTermStride + kTileSide;
  static constexpr std::size_t kPrepared = kTiledGroup * kPreparedStride;

  static std::size_t panel_rows(std::size_t depth) { return (depth + 1) / 2; }

  template <int kSums>
  static FASTPROP_INLINE void start(const float* from, std::size_t stride) {
    load_tile<kSums>(from, stride * sizeof(float));
  }

  template <int kSums, int kInputs, int kWeights>
  static FASTPROP_INLINE void dot() {
    dot_bf16<kSums, kInputs, kWeights>();
  }

  // Moves the product's input to `prepared`, filled up with zeros to whole tiles.
  static void prepare(TiledProduct& product, std::size_t rows, std::size_t depth, float* prepared) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* const from = product.input + r * product.input_stride;
      float* to = prepared + r * kPreparedStride;
      std::size_t k = 0;
      for (; k + 2 * kLanes <= depth; k += 2 * kLanes, to += kLanes) {
        store_terms(load(from + k), load(from + k + kLanes), to);
      }
      if (k + kLanes <= depth) {
        const F last = load(from + k + kLanes, tail(depth - k - kLanes));
        store_terms(load(from + k), last, to);
      } else if (k < depth) {
        store_terms(load(from + k, tail(depth - k)), zero(), to);
      }
    }
    product.input = prepared;
    product.input_stride = kPreparedStride;
  }

  static FASTPROP_INLINE void store_terms(F first, F second, float* to) {
    if constexpr (kTerms == 1) {
      store_bf16(first, second, to);
    } else {
      store_two_bf16(first, second, to, to + kTermStride);
    }
  }

  static void finish(const TiledProduct&, const char*, std::size_t, std::size_t) {}
};

struct Int8Tiles {
  using Panel = Int8Panel;
  static constexpr bool kIsTiled = true;
  static constexpr std::size_t kMaxDepth = Int8Panel::kMaxDepth;
  static constexpr std::size_t kTerms = 1;
  static constexpr std::size_t kTermStride = 0;
  static constexpr std::size_t kPrepared = 1;

  static std::size_t panel_rows(std::size_t depth) { return (depth + kQuad - 1) / kQuad; }

  template <int kSums>
  static FASTPROP_INLINE void start(const float*, std::size_t) {
    zero_tile<kSums>();
  }

  template <int kSums, int kInputs, int kWeights>
  static FASTPROP_INLINE void dot() {
    dot_int8<kSums, kInputs, kWeights>();
  }

  static void prepare(TiledProduct&, std::size_t, std::size_t, float*) {}

  // Brings the sums of `rows` rows in the stage back to floats.
  static void finish(const TiledProduct& product, const char* panels, std::size_t rows,
                     std::size_t n_panels) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* const header = product.input + r * product.input_stride - kQuantizedHeader;
      for (std::size_t p = 0; p < n_panels; ++p) {
        const std::size_t column = p * kPanelColumns;
        const char* const columns = panels + p * product.panel_bytes;
        const F steps = load(reinterpret_cast<const float*>(columns));
        const F of_weights = load(reinterpret_cast<const float*>(columns) + kPanelColumns);
        float* const at = product.stage + r * product.stage_stride + column;
        store(at,
              scaled_sum((I)load(at), steps, of_weights, header) + load(product.start + column));
      }
    }
  }
};

template <class Tiles, int kTileRowCount, int kPanels>
FASTPROP_INLINE void add_tiles(const float* input, std::size_t input_stride, const char* weights,
                               std::size_t panel_bytes) {
  const std::size_t stride_bytes = input_stride * sizeof(float);
  load_tile<6>(weights, kTileBytes / kTileSide);
  if constexpr (kPanels == 2) load_tile<7>(weights + panel_bytes, kTileBytes / kTileSide);
  FASTPROP_UNROLL
  for (std::size_t term = 0; term < Tiles::kTerms; ++term, input += Tiles::kTermStride) {
    load_tile<4>(input, stride_bytes);
    Tiles::template dot<0, 4, 6>();
    if constexpr (kPanels == 2) Tiles::template dot<1, 4, 7>();
    if constexpr (kTileRowCount == 2) {
      load_tile<5>(input + kTileSide * input_stride, stride_bytes);
      Tiles::template dot<2, 5, 6>();
      if constexpr (kPanels == 2) Tiles::template dot<3, 5, 7>();
    }
  }
}

template <class Tiles, int kTileRowCount, int kPanels>
void multiply_tiles(const TiledProduct& product) {
  const std::size_t start_below = kTileSide * product.start_stride;
  Tiles::template start<0>(product.start, product.start_stride);
  if (kPanels == 2) Tiles::template start<1>(product.start + kPanelColumns, product.start_stride);
  if (kTileRowCount == 2) {
    Tiles::template start<2>(product.start + start_below, product.start_stride);
    if (kPanels == 2) {
      Tiles::template start<3>(product.start + start_below + kPanelColumns, product.start_stride);
    }
  }
  const float* input = product.input;
  for (std::size_t t = 0; t < product.tiles; ++t, input += kTileSide) {
    add_tiles<Tiles, kTileRowCount, kPanels>(input, product.input_stride,
                                             product.panel + t * kTileBytes, product.panel_bytes);
  }
  if (product.rest != nullptr) {
    add_tiles<Tiles, kTileRowCount, kPanels>(input, product.input_stride, product.rest, kTileBytes);
  }
  const std::size_t stride_bytes = product.stage_stride * sizeof(float);
  float* const below = product.stage + kTileSide * product.stage_stride;
  store_tile<0>(product.stage, stride_bytes);
  if (kPanels == 2) store_tile<1>(product.stage + kPanelColumns, stride_bytes);
  if (kTileRowCount == 2) {
    store_tile<2>(below, stride_bytes);
    if (kPanels == 2) store_tile<3>(below + kPanelColumns, stride_bytes);
  }
}

template <class Tiles, int kTileRowCount, class Sink>
void multiply_tiled_group(TiledProduct product, std::size_t panels, Sink& sink) {
  for (; panels >= 2; panels -= 2) {
    multiply_tiles<Tiles, kTileRowCount, 2>(product);
    product.move_panels(2);
    sink.advance(kTileRowCount * kTileSide * 2 * kPanelColumns);
  }
  if (panels == 1) multiply_tiles<Tiles, kTileRowCount, 1>(product);
}

// The last, partial tile of each of a block's panels.
FASTPROP_INLINE void copy_rests(const char* panels, std::size_t panel_bytes, std::size_t n_panels,
                                std::size_t n_bytes, char* rests) {
  for (std::size_t p = 0; p < n_panels; ++p, rests += kTileBytes) {
    std::memcpy(rests, panels + p * panel_bytes, n_bytes);
    std::memset(rests + n_bytes, 0, kTileBytes - n_bytes);
  }
}

template <class Tiles, class Sink>
void tiled_blocks(const DenseLayer& layer, const float* input, std::size_t input_stride,
                  std::size_t n_rows, std::size_t first_column, std::size_t last_column,
                  Sink& sink) {
  using Panel = typename Tiles::Panel;
  constexpr std::size_t kStride = kMaxBlockColumns + kPanelColumns;
  alignas(64) float stages[2][kTiledGroup * kStride];
  alignas(64) float prepared[Tiles::kPrepared];
  alignas(64) char rests[kMaxBlockPanels * kTileBytes];
  alignas(64) float bias[kMaxBlockColumns];
  const std::size_t k = layer.inputs;
  const std::size_t panel_bytes = Panel::bytes(k);
  std::size_t configured = 0;
  std::size_t turn = 0;

  for (std::size_t first = first_column; first < last_column; first += kMaxBlockColumns) {
    const std::size_t width = lesser(kMaxBlockColumns, last_column - first);
    const std::size_t n_panels = (width + kPanelColumns - 1) / kPanelColumns;
    std::memset(bias, 0, sizeof bias);
    if (layer.bias != nullptr) std::memcpy(bias, layer.bias + first, width * sizeof(float));
    const char* const panels =
        static_cast<const char*>(layer.panels) + first / kPanelColumns * panel_bytes;
    const std::size_t last_depth = k % Tiles::kMaxDepth;
    const std::size_t last_rows = Tiles::panel_rows(last_depth) % kTileSide;
    if (last_rows > 0) {
      const std::size_t whole = Panel::bytes(k) - last_rows * (kTileBytes / kTileSide);
      copy_rests(panels + whole, panel_bytes, n_panels, last_rows * (kTileBytes / kTileSide),
                 rests);
    }
    for (std::size_t row = 0; row < n_rows; row += kTiledGroup) {
      const std::size_t rows = lesser(n_rows - row, kTiledGroup);
      if (configured != rows) {
        const std::size_t upper = lesser(rows, kTileSide);
        configure_tiles(upper, rows - upper);
        configured = rows;
      }
      float* const stage = stages[turn];
      turn ^= 1;
      std::size_t begin = 0;
      do {
        const bool at_first = begin == 0;
        const std::size_t depth = lesser(k - begin, Tiles::kMaxDepth);
        TiledProduct product{input + row * input_stride + begin,
                             input_stride,
                             panels + Panel::bytes(begin),
                             panel_bytes,
                             Tiles::panel_rows(depth) % kTileSide != 0 ? rests : nullptr,
                             Tiles::panel_rows(depth) / kTileSide,
                             at_first ? bias : stage,
                             at_first ? 0 : kStride,
                             stage,
                             kStride};
        Tiles::prepare(product, rows, depth, prepared);
        if (rows > kTileSide) {
          multiply_tiled_group<Tiles, 2>(product, n_panels, sink);
        } else {
          multiply_tiled_group<Tiles, 1>(product, n_panels, sink);
        }
        Tiles::finish(product, panels, rows, n_panels);
        begin += Tiles::kMaxDepth;
      } while (begin < k);
      sink.finish();
      sink.take({row, rows, first, width, stage, kStride});
    }
  }
  sink.finish();
  release_tiles();
}
