// Dense layers over packed panels. The columns are taken in blocks whose panels fit second-level
// cache, the rows in groups; a group's sums live in a small stage and start from the bias; products
// are added in pieces of kDepth along k, tile by tile in registers. A finished stage is handed to a
// sink, which selects from it, or writes it out through the activation, piece by piece between the
// tiles of the next group, so that memory takes the output while the next sums are made. Every sum
// has one accumulator and takes its products in the order of k, whatever the tile: its bits depend
// on nothing else.

inline constexpr std::size_t kGroupRows = 24;
inline constexpr std::size_t kMaxBlockColumns = 256;
inline constexpr std::size_t kMinBlockColumns = 64;
inline constexpr std::size_t kBlockFloats = 65536;  // of the panels of a block
inline constexpr std::size_t kStageFloats = kGroupRows * (kMaxBlockColumns + kPanelColumns);
inline constexpr std::size_t kMaxGroupRows = 144;
inline constexpr std::size_t kPanelVectors = kPanelColumns / kLanes;

struct Tile {
  const float* input;
  std::size_t input_stride;
  const char* panel;
  std::size_t panel_bytes;  // from one panel to the next
  std::size_t depth;
  const float* start;  // where the sums start from: the bias, or the stage
  std::size_t start_stride;
  float* stage;
  std::size_t stage_stride;

  void move_rows(std::size_t rows) {
    input += rows * input_stride;
    start += rows * start_stride;
    stage += rows * stage_stride;
  }
  void move_panels(std::size_t panels) {
    panel += panels * panel_bytes;
    start += panels * kPanelColumns;
    stage += panels * kPanelColumns;
  }
};

// A lane of a panel is a weight, or two of neighbouring k, the first in the lower half.
struct WholeLane {
  static FASTPROP_INLINE F get(F lane) { return lane; }
};
struct LowerHalf {
  static FASTPROP_INLINE F get(F lane) { return (F)((I)lane << 16); }
};
struct UpperHalf {
  static FASTPROP_INLINE F get(F lane) { return (F)((I)lane & -65536); }
};

template <class Lane>
FASTPROP_INLINE F weights(const char* panel, std::size_t panel_bytes, std::size_t v) {
  const char* const from = panel + v / kPanelVectors * panel_bytes;
  return Lane::get(load(reinterpret_cast<const float*>(from) + v % kPanelVectors * kLanes));
}

// Adds the products of one k. Registers hold the fewer of inputs and weights.
template <class Lane, std::size_t kRows, std::size_t kVectors>
FASTPROP_INLINE void add_products(const char* panel, std::size_t panel_bytes, const float* input,
                                  std::size_t stride, F (&sum)[kRows][kVectors]) {
  if constexpr (kRows < kVectors) {
    F x[kRows];
    FASTPROP_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) x[r] = set1(input[r * stride]);
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) {
      const F w = weights<Lane>(panel, panel_bytes, v);
      FASTPROP_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) sum[r][v] = madd(x[r], w, sum[r][v]);
    }
  } else {
    F w[kVectors];
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) w[v] = weights<Lane>(panel, panel_bytes, v);
    FASTPROP_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const F x = set1(input[r * stride]);
      FASTPROP_UNROLL
      for (std::size_t v = 0; v < kVectors; ++v) sum[r][v] = madd(x, w[v], sum[r][v]);
    }
  }
}

template <std::size_t kRows, std::size_t kVectors>
FASTPROP_INLINE void load_sums(const Tile& tile, F (&sum)[kRows][kVectors]) {
  FASTPROP_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) {
      sum[r][v] = load(tile.start + r * tile.start_stride + v * kLanes);
    }
  }
}

template <std::size_t kRows, std::size_t kVectors>
FASTPROP_INLINE void store_sums(const Tile& tile, const F (&sum)[kRows][kVectors]) {
  FASTPROP_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) {
      store(tile.stage + r * tile.stage_stride + v * kLanes, sum[r][v]);
    }
  }
}

// Into first-level cache what is needed sixteen steps on.
template <std::size_t kPanels>
FASTPROP_INLINE void prefetch_panels(const char* panel, std::size_t panel_bytes) {
  FASTPROP_UNROLL
  for (std::size_t p = 0; p < kPanels; ++p) __builtin_prefetch(panel + p * panel_bytes + 1024);
}

struct Float32Panel {
  static constexpr std::size_t bytes(std::size_t depth) { return depth * kPanelColumns * 4; }
  static constexpr std::size_t kMaxDepth = kDepth;
  static constexpr bool kIsTiled = false;

  template <std::size_t kRows, std::size_t kPanels>
  static void multiply(const Tile& tile) {
    F sum[kRows][kPanels * kPanelVectors];
    load_sums(tile, sum);
    const float* const input = tile.input;
    const std::size_t stride = tile.input_stride;
    const char* panel = tile.panel;
    const std::size_t panel_bytes = tile.panel_bytes;
    FASTPROP_UNROLL_BY_4
    for (std::size_t k = 0; k < tile.depth; ++k) {
      prefetch_panels<kPanels>(panel, panel_bytes);
      add_products<WholeLane>(panel, panel_bytes, input + k, stride, sum);
      panel += kPanelColumns * sizeof(float);
    }
    store_sums(tile, sum);
  }
};

struct Bfloat16Panel {
  static constexpr std::size_t bytes(std::size_t depth) {
    return (depth + 1) / 2 * kPanelColumns * 4;
  }
  static constexpr std::size_t kMaxDepth = kDepth;
  static constexpr bool kIsTiled = false;

  template <std::size_t kRows, std::size_t kPanels>
  static void multiply(const Tile& tile) {
    F sum[kRows][kPanels * kPanelVectors];
    load_sums(tile, sum);
    const float* const input = tile.input;
    const std::size_t stride = tile.input_stride;
    const char* panel = tile.panel;
    const std::size_t panel_bytes = tile.panel_bytes;
    for (std::size_t k = 0; k < tile.depth; k += 2) {
      prefetch_panels<kPanels>(panel, panel_bytes);
      add_products<LowerHalf>(panel, panel_bytes, input + k, stride, sum);
      if (k + 1 < tile.depth) {
        // Loaded again, for the registers do not hold the sums and both halves.
        __asm__("" : "+r"(panel));
        add_products<UpperHalf>(panel, panel_bytes, input + k + 1, stride, sum);
      }
      panel += kPanelColumns * sizeof(float);
    }
    store_sums(tile, sum);
  }
};

#include "fastprop/kernels/body/dense_int8.inl"

#if defined(FASTPROP_AMX)
#include "fastprop/kernels/body/dense_amx.inl"
using Bfloat16Product = Bfloat16Tiles<2>;
using Int8Product = Int8Tiles;
#else
using Bfloat16Product = Bfloat16Panel;
using Int8Product = Int8Panel;
#endif

// kRows rows by `panels` panels, kPanels of them at a time, what is left one by one.
template <class Panel, std::size_t kRows, std::size_t kPanels>
void multiply_rows(Tile tile, std::size_t panels) {
  for (; panels >= kPanels; panels -= kPanels) {
    Panel::template multiply<kRows, kPanels>(tile);
    tile.move_panels(kPanels);
  }
  if constexpr (kPanels > 1) {
    for (; panels > 0; --panels) {
      Panel::template multiply<kRows, 1>(tile);
      tile.move_panels(1);
    }
  }
}

template <class Panel, std::size_t kRows>
void multiply_few_rows(const Tile& tile, std::size_t rows, std::size_t panels) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_rows<Panel, kRows, few_rows_panels(kRows)>(tile, panels);
    } else {
      multiply_few_rows<Panel, kRows - 1>(tile, rows, panels);
    }
  }
}

template <class Panel, std::size_t kPanels, class Sink>
void multiply_column(Tile tile, std::size_t rows, Sink& sink) {
  for (std::size_t row = 0; row < rows; row += kTileRows) {
    Panel::template multiply<kTileRows, kPanels>(tile);
    tile.move_rows(kTileRows);
    sink.advance(kTileRows * kPanels * kPanelColumns);
  }
}

// All rows of a group by all panels of a block. Full tiles go down the rows first, for the panels
// to stay in first-level cache.
template <class Panel, class Sink>
void multiply_group(Tile tile, std::size_t rows, std::size_t panels, Sink& sink) {
  const std::size_t full_rows = rows - rows % kTileRows;
  if (full_rows < rows) {
    Tile rest = tile;
    rest.move_rows(full_rows);
    multiply_few_rows<Panel, kTileRows - 1>(rest, rows - full_rows, panels);
  }
  if (full_rows == 0) return;
  for (; panels >= kTilePanels; panels -= kTilePanels) {
    multiply_column<Panel, kTilePanels>(tile, full_rows, sink);
    tile.move_panels(kTilePanels);
  }
  if constexpr (kTilePanels > 1) {
    for (; panels > 0; --panels) {
      multiply_column<Panel, 1>(tile, full_rows, sink);
      tile.move_panels(1);
    }
  }
}

struct Stage {
  std::size_t row;
  std::size_t n_rows;
  std::size_t first_column;
  std::size_t width;
  const float* data;
  std::size_t stride;
};

// A sink takes a stage, is told of every `n` sums that are made of the next one, and may deal with
// as many of its own meanwhile. This one writes pieces that end at the end of a cache line.
class WriteSink {
 public:
  WriteSink(const Activation& activation, const DenseOutput& output)
      : activation_(activation), output_(output) {}

  void take(const Stage& stage) {
    stage_ = stage;
    column_ = 0;
    owed_ = 0;
  }

  void advance(std::size_t n) {
    for (owed_ += n; owed_ >= kPiece && stage_.n_rows > 0; owed_ -= kPiece) write_piece();
  }

  void finish() {
    while (stage_.n_rows > 0) write_piece();
  }

 private:
  static constexpr std::size_t kPiece = 128;

  void write_piece() {
    float* const out = output_.data + stage_.row * output_.stride + stage_.first_column + column_;
    const std::size_t misaligned =
        reinterpret_cast<std::uintptr_t>(out) / sizeof(float) % kLineFloats;
    const std::size_t n = lesser(stage_.width - column_, kPiece - misaligned);
    apply_activation(activation_, stage_.data + column_, n, out, stage_.first_column + column_,
                     output_.streaming);
    column_ += n;
    if (column_ == stage_.width) {
      column_ = 0;
      ++stage_.row;
      --stage_.n_rows;
      stage_.data += stage_.stride;
    }
  }

  const Activation& activation_;
  const DenseOutput& output_;
  Stage stage_{};
  std::size_t column_ = 0;
  std::size_t owed_ = 0;
};

class SelectSink {
 public:
  SelectSink(const TopKRule& rule, TopKState* states) : rule_(rule), states_(states) {}

  void take(const Stage& stage) {
    for (std::size_t r = 0; r < stage.n_rows; ++r) {
      top_k_update(rule_, stage.data + r * stage.stride, stage.width, stage.first_column,
                   states_[stage.row + r]);
    }
  }
  void advance(std::size_t) {}  // no faster between products
  void finish() {}

 private:
  const TopKRule& rule_;
  TopKState* states_;
};

template <class Panel, class Sink>
void dense_blocks(const DenseLayer& layer, const float* input, std::size_t input_stride,
                  std::size_t n_rows, std::size_t first_column, std::size_t last_column,
                  Sink& sink) {
  alignas(64) float stages[2][kStageFloats];
  alignas(64) float bias[kMaxBlockColumns];
  const std::size_t k = layer.inputs;
  std::size_t block = kBlockFloats / (k > 0 ? k : 1) / kMinBlockColumns * kMinBlockColumns;
  block = block < kMinBlockColumns ? kMinBlockColumns : lesser(block, kMaxBlockColumns);
  // An odd number of cache lines, so that the rows of a tile fall in different sets.
  const std::size_t stride = block + kPanelColumns;
  const std::size_t group = lesser(kStageFloats / stride / kTileRows * kTileRows, kMaxGroupRows);
  const std::size_t panel_bytes = Panel::bytes(k);
  std::size_t turn = 0;

  for (std::size_t first = first_column; first < last_column; first += block) {
    const std::size_t width = lesser(block, last_column - first);
    const std::size_t n_panels = (width + kPanelColumns - 1) / kPanelColumns;
    std::memset(bias, 0, sizeof bias);
    if (layer.bias != nullptr) std::memcpy(bias, layer.bias + first, width * sizeof(float));
    const char* const panels =
        static_cast<const char*>(layer.panels) + first / kPanelColumns * panel_bytes;
    for (std::size_t row = 0; row < n_rows; row += group) {
      const std::size_t rows = lesser(n_rows - row, group);
      float* const stage = stages[turn];
      turn ^= 1;
      std::size_t begin = 0;
      do {
        const bool at_first = begin == 0;
        Tile tile{input + row * input_stride + begin,
                  input_stride,
                  panels + Panel::bytes(begin),
                  panel_bytes,
                  lesser(k - begin, Panel::kMaxDepth),
                  at_first ? bias : stage,
                  at_first ? 0 : stride,
                  stage,
                  stride};
        multiply_group<Panel>(tile, rows, n_panels, sink);
        begin += Panel::kMaxDepth;
      } while (begin < k);
      sink.finish();
      sink.take({row, rows, first, width, stage, stride});
    }
  }
  sink.finish();
}

// On AMX's tiles: defined in dense_amx.inl, where there are products that are tiled.
template <class Tiles, class Sink>
void tiled_blocks(const DenseLayer& layer, const float* input, std::size_t input_stride,
                  std::size_t n_rows, std::size_t first_column, std::size_t last_column,
                  Sink& sink);

template <class Sink>
void dense_any(const DenseLayer& layer, const float* input, std::size_t input_stride,
               std::size_t n_rows, std::size_t first_column, std::size_t last_column, Sink&& sink) {
  const auto blocks = [&](auto product, const float* rows) {
    using Product = decltype(product);
    if constexpr (Product::kIsTiled) {
      tiled_blocks<Product>(layer, rows, input_stride, n_rows, first_column, last_column, sink);
    } else {
      dense_blocks<Product>(layer, rows, input_stride, n_rows, first_column, last_column, sink);
    }
  };
  switch (layer.weight_type) {
    case WeightType::kFloat32:
      return blocks(Float32Panel{}, input);
    case WeightType::kBfloat16:
      return blocks(Bfloat16Product{}, input);
    case WeightType::kInt8:
      return blocks(Int8Product{}, input + kQuantizedHeader);
  }
}

void dense(const DenseLayer& layer, const float* input, std::size_t input_stride,
           std::size_t n_rows, const DenseOutput& output) noexcept {
  dense_any(layer, input, input_stride, n_rows, output.first_column, output.last_column,
            WriteSink(layer.activation, output));
  if (output.streaming) stream_fence();
}

#if defined(FASTPROP_AMX)
#include "fastprop/kernels/body/dense_screen.inl"
#endif

void dense_top_k(const DenseLayer& layer, const float* input, std::size_t input_stride,
                 std::size_t n_rows, std::size_t first_column, std::size_t last_column,
                 const TopKRule& rule, TopKState* states) noexcept {
#if defined(FASTPROP_AMX)
  if (layer.screen != nullptr) {
    return screened_top_k(layer, input, input_stride, n_rows, rule, states);
  }
#endif
  dense_any(layer, input, input_stride, n_rows, first_column, last_column,
            SelectSink(rule, states));
}
