// The sparse input layer. A row's elements are decoded in chunks (weight offset and value, absent
// rows left out), then added block of columns by block of columns, the block's sums in registers.
// A layer of one block keeps them there for the whole chunk. A wider one takes a few elements at a
// time through all its blocks, so that each weight row is still fetched once, and from first-level
// cache after its first block. Every step prefetches the same block of the element `near` further
// on, across rows: memory never waits for arithmetic. Where second-level cache has a prefetcher
// that follows what was begun, with more lines under way than first-level cache can wait for, each
// weight row is begun `far` ahead.

inline constexpr std::size_t kChunk = 512;
inline constexpr std::size_t kMaxAhead = 64;
inline constexpr std::size_t kLineBytes = 64;
inline constexpr std::size_t kGroupBytes = 16384;
inline constexpr std::size_t kAheadBytes = 16384;
// Measured: narrower rows gain nothing by being begun.
inline constexpr std::size_t kLeastBegun = 512;
inline constexpr std::size_t kBegunBytes = 2 * kLineBytes;
inline constexpr std::size_t kNearBytes = 4096;
inline constexpr std::size_t kFarBytes = 32768;

// Elements, of rows of weights, in so many bytes.
FASTPROP_INLINE std::size_t elements_in(std::size_t n_bytes, std::size_t row_bytes,
                                        std::size_t most) {
  const std::size_t n = n_bytes / row_bytes;
  return n < 4 ? 4 : lesser(n, most);
}

struct Elements {
  std::size_t offset[kChunk + kMaxAhead];  // bytes from the weight's first row
  float value[kChunk];
};

// How `block` is to walk: shared by all blocks of a call.
struct Walk {
  const char* weight;     // of the block's first column
  std::size_t near;       // elements
  std::size_t far;        // elements
  std::size_t last_byte;  // of the weight row, from the block's first column
  Tail rest;              // of the last vector of the last block
};

struct Float32Weight {
  using Type = float;
  static FASTPROP_INLINE F get(const Type* p) { return load(p); }
  static FASTPROP_INLINE F get(const Type* p, const Tail& rest) { return load(p, rest); }
};

struct Bfloat16Weight {
  using Type = std::uint16_t;
  static FASTPROP_INLINE F get(const Type* p) { return load_bf16(p); }
  static FASTPROP_INLINE F get(const Type* p, const Tail& rest) { return load_bf16(p, rest); }
};

// out = start + sum of value * weight over `count` elements, for kVectors vectors of columns, of
// which the last is partial if kPartial. start == nullptr: zero.
template <class Weight, std::size_t kVectors, bool kPartial>
void block(const Walk& walk, const std::size_t* offset, const float* value, std::size_t count,
           const float* start, float* out) {
  using Type = typename Weight::Type;
  constexpr std::size_t kWhole = kVectors - (kPartial ? 1 : 0);
  constexpr std::size_t kBytes = kVectors * kLanes * sizeof(Type);
  F sum[kVectors];
  FASTPROP_UNROLL
  for (std::size_t v = 0; v < kWhole; ++v) {
    sum[v] = start != nullptr ? load(start + v * kLanes) : zero();
  }
  if (kPartial) {
    sum[kVectors - 1] = start != nullptr ? load(start + kWhole * kLanes, walk.rest) : zero();
  }
  const char* const weight = walk.weight;
  const std::size_t last_byte = walk.last_byte;
  const std::size_t* const near = offset + walk.near;
  const std::size_t* const far = offset + walk.far;
  for (std::size_t i = 0; i < count; ++i) {
    if (kBeginsFar && kBytes >= kLeastBegun) {
      FASTPROP_UNROLL
      for (std::size_t byte = 0; byte < kBegunBytes; byte += kLineBytes) {
        __builtin_prefetch(weight + far[i] + byte, 0, 2);
      }
    }
    const char* const fetched = weight + near[i];
    FASTPROP_UNROLL
    for (std::size_t byte = 0; byte < kBytes; byte += kLineBytes) {
      __builtin_prefetch(fetched + byte);
    }
    __builtin_prefetch(fetched + last_byte);
    const Type* const row = reinterpret_cast<const Type*>(weight + offset[i]);
    const F x = set1(value[i]);
    FASTPROP_UNROLL
    for (std::size_t v = 0; v < kWhole; ++v) {
      sum[v] = madd(x, Weight::get(row + v * kLanes), sum[v]);
    }
    if (kPartial) {
      sum[kVectors - 1] = madd(x, Weight::get(row + kWhole * kLanes, walk.rest), sum[kVectors - 1]);
    }
  }
  FASTPROP_UNROLL
  for (std::size_t v = 0; v < kWhole; ++v) store(out + v * kLanes, sum[v]);
  if (kPartial) store(out + kWhole * kLanes, sum[kVectors - 1], walk.rest);
}

using Block = void (*)(const Walk&, const std::size_t*, const float*, std::size_t, const float*,
                       float*);

template <class Weight, bool kPartial, std::size_t... kIndex>
Block choose_block(std::size_t vectors, std::index_sequence<kIndex...>) {
  static constexpr Block kBlocks[] = {&block<Weight, kIndex + 1, kPartial>...};
  return kBlocks[vectors - 1];
}

template <class Weight>
Block choose_block(std::size_t vectors, bool partial) {
  using Sizes = std::make_index_sequence<kSparseVectors>;
  return partial ? choose_block<Weight, true>(vectors, Sizes{})
                 : choose_block<Weight, false>(vectors, Sizes{});
}

struct AllRows {};

FASTPROP_INLINE bool find_row(const AllRows*, std::size_t column, std::size_t& row) {
  row = column;
  return true;
}

template <class Row>
FASTPROP_INLINE bool find_row(const Row* rows, std::size_t column, std::size_t& row) {
  row = static_cast<std::size_t>(rows[column]);
  return rows[column] >= 0;
}

FASTPROP_INLINE std::size_t weight_row_bytes(const SparseLayer& layer) {
  return layer.weight_stride * (layer.weight_type == WeightType::kFloat32 ? 4 : 2);
}

// Decodes the elements [begin, end) of a CSR matrix that are in stored rows; gives their number.
// value == nullptr: offsets only.
using Decode = std::size_t (*)(const SparseLayer&, const CsrRows&, std::size_t begin,
                               std::size_t end, std::size_t* offset, float* value);

template <class Index, class Value, class Row>
std::size_t decode(const SparseLayer& layer, const CsrRows& rows, std::size_t begin,
                   std::size_t end, std::size_t* offset, float* value) {
  const auto* const indices = static_cast<const Index*>(rows.indices);
  const auto* const values = static_cast<const Value*>(rows.values);
  const auto* const row_of_column = static_cast<const Row*>(layer.row_of_column);
  const std::size_t row_bytes = weight_row_bytes(layer);
  std::size_t n = 0;
  for (std::size_t i = begin; i < end; ++i) {
    std::size_t row = 0;
    const bool stored = find_row(row_of_column, static_cast<std::size_t>(indices[i]), row);
    offset[n] = row * row_bytes;
    if (value != nullptr) value[n] = values != nullptr ? static_cast<float>(values[i]) : 1.0F;
    n += stored ? 1 : 0;
  }
  return n;
}

template <class Index, class Value>
Decode choose_decode(const SparseLayer& layer) {
  if (layer.row_of_column == nullptr) return &decode<Index, Value, AllRows>;
  return layer.row_of_column_type == IndexType::kInt32 ? &decode<Index, Value, std::int32_t>
                                                       : &decode<Index, Value, std::int64_t>;
}

template <class Index>
Decode choose_decode(const SparseLayer& layer, const CsrRows& rows) {
  return rows.value_type == ValueType::kFloat32 ? choose_decode<Index, float>(layer)
                                                : choose_decode<Index, double>(layer);
}

FASTPROP_INLINE std::size_t row_start(const CsrRows& rows, std::size_t row) {
  return rows.indptr_type == IndexType::kInt32
             ? static_cast<std::size_t>(static_cast<const std::int32_t*>(rows.indptr)[row])
             : static_cast<std::size_t>(static_cast<const std::int64_t*>(rows.indptr)[row]);
}

// How a layer's columns are taken, the same for all rows of a call.
template <class Weight>
class ColumnBlocks {
 public:
  explicit ColumnBlocks(const SparseLayer& layer)
      : weight_(static_cast<const char*>(layer.weight)),
        row_bytes_(layer.width * sizeof(typename Weight::Type)),
        whole_blocks_((layer.width - 1) / kColumns) {
    const bool begins = kBeginsFar && row_bytes_ >= kLeastBegun;
    near_ = elements_in(begins ? kNearBytes : kAheadBytes, row_bytes_, kMaxAhead / 2);
    far_ = begins ? elements_in(kFarBytes, row_bytes_, kMaxAhead) : near_;
    group_ = layer.width <= kColumns ? kChunk : elements_in(kGroupBytes, row_bytes_, 32);
    const std::size_t last_columns = layer.width - whole_blocks_ * kColumns;
    rest_ = tail(last_columns % kLanes);
    whole_ = choose_block<Weight>(kSparseVectors, false);
    last_ = choose_block<Weight>((last_columns + kLanes - 1) / kLanes, last_columns % kLanes != 0);
  }

  // Elements that have to be known, as offsets, behind those that are added.
  std::size_t ahead() const { return far_; }

  void prefetch(const std::size_t* offset, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t n_bytes = i < near_ ? row_bytes_ : lesser(row_bytes_, kBegunBytes);
      for (std::size_t byte = 0; byte < n_bytes; byte += kLineBytes) {
        __builtin_prefetch(weight_ + offset[i] + byte);
      }
    }
  }

  // out = start + sum of value * weight over `count` elements. start == nullptr: zero.
  void add(const std::size_t* offset, const float* value, std::size_t count, const float* start,
           float* out) const {
    do {
      const std::size_t n = lesser(count, group_);
      std::size_t column = 0;
      for (std::size_t b = 0; b <= whole_blocks_; ++b, column += kColumns) {
        const std::size_t byte = column * sizeof(typename Weight::Type);
        const Walk walk{weight_ + byte, near_, far_, row_bytes_ - 1 - byte, rest_};
        (b < whole_blocks_ ? whole_ : last_)(
            walk, offset, value, n, start != nullptr ? start + column : nullptr, out + column);
      }
      start = out;
      offset += n;
      value += n;
      count -= n;
    } while (count > 0);
  }

 private:
  static constexpr std::size_t kColumns = kSparseVectors * kLanes;

  const char* weight_;
  std::size_t row_bytes_;
  std::size_t whole_blocks_;
  std::size_t near_;
  std::size_t far_;
  std::size_t group_;  // elements that go through all blocks before the next
  Tail rest_;
  Block whole_;
  Block last_;
};

// The last known offset stands in for those behind the end.
FASTPROP_INLINE void pad_offsets(std::size_t* offset, std::size_t known, std::size_t wanted) {
  const std::size_t padding = known > 0 ? offset[known - 1] : 0;
  for (; known < wanted; ++known) offset[known] = padding;
}

template <class Weight>
void sparse_layer_of(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows, float* out,
                     std::size_t out_stride) {
  const ColumnBlocks<Weight> blocks(layer);
  const std::size_t ahead = blocks.ahead();
  const Decode decode_elements = rows.index_type == IndexType::kInt32
                                     ? choose_decode<std::int32_t>(layer, rows)
                                     : choose_decode<std::int64_t>(layer, rows);
  const std::size_t end_of_rows = row_start(rows, n_rows);
  Elements elements;
  const std::size_t begin_of_rows = row_start(rows, 0);
  blocks.prefetch(elements.offset, decode_elements(layer, rows, begin_of_rows,
                                                   lesser(end_of_rows, begin_of_rows + ahead),
                                                   elements.offset, nullptr));

  for (std::size_t row = 0; row < n_rows; ++row, out += out_stride) {
    std::size_t position = row_start(rows, row);
    const std::size_t end = row_start(rows, row + 1);
    const float* start = layer.bias;
    do {
      const std::size_t stop = lesser(end, position + kChunk);
      const std::size_t count =
          decode_elements(layer, rows, position, stop, elements.offset, elements.value);
      const std::size_t known =
          count + decode_elements(layer, rows, stop, lesser(end_of_rows, stop + ahead),
                                  elements.offset + count, nullptr);
      pad_offsets(elements.offset, known, count + ahead);
      blocks.add(elements.offset, elements.value, count, start, out);
      start = out;
      position = stop;
    } while (position < end);
    apply_activation(layer.activation, out, layer.width, out, 0, false);
  }
}

void sparse_layer(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows, float* out,
                  std::size_t out_stride) noexcept {
  if (layer.width == 0 || n_rows == 0) return;
  if (layer.weight_type == WeightType::kFloat32) {
    sparse_layer_of<Float32Weight>(layer, rows, n_rows, out, out_stride);
  } else {
    sparse_layer_of<Bfloat16Weight>(layer, rows, n_rows, out, out_stride);
  }
}
