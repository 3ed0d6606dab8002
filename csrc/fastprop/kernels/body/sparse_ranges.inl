// The sparse input layer over many rows at once, range of columns by range of columns, so that a
// weight row which many of the rows need is fetched from memory once and then found in the shared
// cache. Each row keeps its place and goes on from it while its next column lies in the range: its
// sum takes the elements in their own order, to the same bits as row by row, sorted or not.

inline constexpr std::size_t kRangeBytes = std::size_t{8} << 20;  // of weight rows
// A sum that is laid aside and taken up again costs the traffic of two elements: a range with fewer
// than this many a row grows. Measured: 3 and 10 are slower than 5 and 6.
inline constexpr std::size_t kRangeElements = 5;
inline constexpr std::size_t kMaxBuckets = 4096;
inline constexpr std::size_t kMaxSegments = 256;

// What a row has in a range, or the part of it that fits the chunk.
struct Segment {
  std::size_t row;
  std::size_t count;
  bool first;
  bool last;
};

// Where ranges end: elements are counted by buckets of neighbouring columns.
class ColumnRanges {
 public:
  ColumnRanges(const SparseLayer& layer, std::size_t n_rows, std::size_t n_columns)
      : n_columns_(n_columns), least_(kRangeElements * n_rows) {
    while ((n_columns >> shift_) >= kMaxBuckets) ++shift_;
    full_ = kRangeBytes / weight_row_bytes(layer);
  }

  template <class Index>
  void count(const Index* indices, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      ++elements_[static_cast<std::size_t>(indices[i]) >> shift_];
    }
  }

  std::size_t end_after(std::size_t first_column) const {
    std::size_t elements = 0;
    std::size_t column = first_column;
    while (column < n_columns_ && (column - first_column < full_ || elements < least_)) {
      elements += elements_[column >> shift_];
      column += std::size_t{1} << shift_;
    }
    return lesser(column, n_columns_);
  }

 private:
  std::size_t n_columns_;
  std::size_t least_;
  std::size_t full_;
  unsigned shift_ = 9;  // of a bucket's columns
  std::uint64_t elements_[kMaxBuckets] = {};
};

template <class Weight, class Index>
class RangeWalk {
 public:
  RangeWalk(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows,
            std::uint64_t* position, float* out, std::size_t out_stride)
      : layer_(layer),
        rows_(rows),
        n_rows_(n_rows),
        indices_(static_cast<const Index*>(rows.indices)),
        decode_(choose_decode<Index>(layer, rows)),
        position_(position),
        out_(out),
        out_stride_(out_stride),
        blocks_(layer) {}

  void run(std::size_t n_columns) {
    ColumnRanges ranges(layer_, n_rows_, n_columns);
    ranges.count(indices_, row_start(rows_, 0), row_start(rows_, n_rows_));
    for (std::size_t r = 0; r < n_rows_; ++r) position_[r] = row_start(rows_, r);
    std::size_t first_column = 0;
    do {
      const std::size_t end_column = ranges.end_after(first_column);
      std::size_t row = 0;
      while (row < n_rows_) {
        row = gather(row, first_column == 0, end_column);
        add();
      }
      first_column = end_column;
    } while (first_column < n_columns);
  }

 private:
  // Decodes what rows from `row` on have left before `end_column`, a chunk full; gives the row to
  // go on with.
  std::size_t gather(std::size_t row, bool is_first_range, std::size_t end_column) {
    count_ = n_segments_ = 0;
    while (row < n_rows_ && n_segments_ < kMaxSegments) {
      const std::size_t begin = position_[row];
      const std::size_t end = row_start(rows_, row + 1);
      const std::size_t stop = lesser(end, begin + kChunk - count_);
      std::size_t at = begin;
      while (at < stop && static_cast<std::size_t>(indices_[at]) < end_column) ++at;
      const bool first = begin == row_start(rows_, row);
      if (at > begin || (is_first_range && begin == end)) {
        const std::size_t n =
            decode_(layer_, rows_, begin, at, elements_.offset + count_, elements_.value + count_);
        segments_[n_segments_++] = {row, n, first, at == end};
        count_ += n;
      }
      position_[row] = at;
      if (at == stop && at < end) return row;  // the chunk is full
      ++row;
    }
    return row;
  }

  void add() {
    pad_offsets(elements_.offset, count_, count_ + blocks_.ahead());
    blocks_.prefetch(elements_.offset, lesser(count_, blocks_.ahead()));
    std::size_t at = 0;
    for (std::size_t s = 0; s < n_segments_; ++s) {
      const Segment& segment = segments_[s];
      float* const out = out_ + segment.row * out_stride_;
      blocks_.add(elements_.offset + at, elements_.value + at, segment.count,
                  segment.first ? layer_.bias : out, out);
      at += segment.count;
      if (segment.last) {
        apply_activation(layer_.activation, out, layer_.width, out, 0, false);
      }
    }
  }

  const SparseLayer& layer_;
  const CsrRows& rows_;
  std::size_t n_rows_;
  const Index* indices_;
  Decode decode_;
  std::uint64_t* position_;
  float* out_;
  std::size_t out_stride_;
  ColumnBlocks<Weight> blocks_;
  Elements elements_;
  std::size_t count_ = 0;
  Segment segments_[kMaxSegments];
  std::size_t n_segments_ = 0;
};

template <class Weight>
void sparse_ranges_of(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows,
                      std::size_t n_columns, std::uint64_t* positions, float* out,
                      std::size_t out_stride) {
  if (rows.index_type == IndexType::kInt32) {
    RangeWalk<Weight, std::int32_t>(layer, rows, n_rows, positions, out, out_stride).run(n_columns);
  } else {
    RangeWalk<Weight, std::int64_t>(layer, rows, n_rows, positions, out, out_stride).run(n_columns);
  }
}

void sparse_layer_by_ranges(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows,
                            std::size_t n_columns, std::uint64_t* positions, float* out,
                            std::size_t out_stride) noexcept {
  if (layer.width == 0 || n_rows == 0) return;
  if (layer.weight_type == WeightType::kFloat32) {
    sparse_ranges_of<Float32Weight>(layer, rows, n_rows, n_columns, positions, out, out_stride);
  } else {
    sparse_ranges_of<Bfloat16Weight>(layer, rows, n_rows, n_columns, positions, out, out_stride);
  }
}
