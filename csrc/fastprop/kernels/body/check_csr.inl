// The CSR check: blocks of elements through comparisons whose results are only collected; a block
// with a fault is gone through again, one element at a time, for its place. Bound by reading.

inline constexpr std::size_t kCheckBlock = 2048;

template <class T>
struct Wide {
  using Vector __attribute__((vector_size(kLanes * 4))) = T;
  static constexpr std::size_t kCount = kLanes * 4 / sizeof(T);

  static FASTPROP_INLINE Vector load(const T* p) {
    Vector x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static FASTPROP_INLINE bool any(Vector x) {
    T lanes[kCount];
    std::memcpy(lanes, &x, sizeof x);
    T all = 0;
    for (std::size_t i = 0; i < kCount; ++i) all = static_cast<T>(all | lanes[i]);
    return all != 0;
  }
};

// A test says whether an element of type T is faulty, or which of a vector's, as lanes of all ones.
template <class T>
struct OutOfRange {
  T last;  // the greatest index
  FASTPROP_INLINE bool operator()(T x) const { return x < 0 || x > last; }
  FASTPROP_INLINE typename Wide<T>::Vector operator()(typename Wide<T>::Vector x) const {
    return (x < 0) | (x > last);
  }
};

// Not finite as float32: of the bits without the sign, at least those of infinity, or in float64
// those of the smallest number that rounds to it, (2 - 2^-24) 2^127.
template <class T>
struct NotFinite {
  static constexpr T kMagnitude =
      static_cast<T>(static_cast<std::uint64_t>(-1) >> (1 + 8 * (8 - sizeof(T))));
  static constexpr T kLast =
      static_cast<T>(sizeof(T) == 4 ? 0x7F800000LL - 1 : 0x47EFFFFFF0000000LL - 1);
  FASTPROP_INLINE bool operator()(T x) const { return (x & kMagnitude) > kLast; }
  FASTPROP_INLINE typename Wide<T>::Vector operator()(typename Wide<T>::Vector x) const {
    return (x & kMagnitude) > kLast;
  }
};

// The first faulty element of n, or n.
template <class T, class Test>
std::size_t first_fault(const T* p, std::size_t n, const Test& test) {
  using W = Wide<T>;
  constexpr std::size_t kStep = 4 * W::kCount;
  typename W::Vector bad[4] = {};
  std::size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    FASTPROP_UNROLL
    for (std::size_t j = 0; j < 4; ++j) bad[j] |= test(W::load(p + i + j * W::kCount));
  }
  const bool faulty = W::any(bad[0] | bad[1] | bad[2] | bad[3]);
  for (i = faulty ? 0 : i; i < n; ++i) {
    T x;
    std::memcpy(&x, p + i, sizeof x);
    if (test(x)) return i;
  }
  return n;
}

template <class Indptr>
CsrCheck check_indptr(const Indptr* indptr, std::size_t n_rows, std::int64_t nnz) {
  if (indptr[0] < 0) return {CsrFault::kIndptrStart, 0};
  for (std::size_t row = 0; row < n_rows;) {
    const std::size_t n = lesser(n_rows - row, kCheckBlock);
    bool bad = false;
    for (std::size_t i = 0; i < n; ++i) bad |= indptr[row + i + 1] < indptr[row + i];
    if (bad) {
      while (indptr[row + 1] >= indptr[row]) ++row;
      return {CsrFault::kIndptrOrder, row + 1};
    }
    row += n;
  }
  if (static_cast<std::int64_t>(indptr[n_rows]) > nnz) return {CsrFault::kIndptrEnd, n_rows};
  return {};
}

// The test of an index type; no index is allowed if there are no columns.
template <class Index>
OutOfRange<Index> range_test(std::int64_t n_columns) {
  const auto limit =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(-1) >> (1 + 8 * (8 - sizeof(Index))));
  const std::int64_t last = n_columns - 1 < limit ? n_columns - 1 : limit;
  return {static_cast<Index>(last)};
}

template <class Index, class Value>
CsrCheck check_elements(const Index* indices, const Value* values, std::size_t begin,
                        std::size_t end, std::int64_t n_columns) {
  const OutOfRange<Index> out_of_range = range_test<Index>(n_columns);
  for (std::size_t i = begin; i < end; i += kCheckBlock) {
    const std::size_t n = lesser(end - i, kCheckBlock);
    const std::size_t index = first_fault(indices + i, n, out_of_range);
    const std::size_t value =
        values != nullptr ? first_fault(values + i, n, NotFinite<Value>{}) : n;
    if (index < n && index <= value) return {CsrFault::kIndexRange, i + index};
    if (value < n) return {CsrFault::kValueFinite, i + value};
  }
  return {};
}

template <class Index>
CsrCheck check_elements_of(const CsrRows& rows, std::size_t begin, std::size_t end,
                           std::int64_t n_columns, bool finite) {
  const auto* const indices = static_cast<const Index*>(rows.indices);
  const void* const values = finite ? rows.values : nullptr;
  // Values are looked at as the integers of their bits.
  return rows.value_type == ValueType::kFloat32
             ? check_elements(indices, static_cast<const std::int32_t*>(values), begin, end,
                              n_columns)
             : check_elements(indices, static_cast<const std::int64_t*>(values), begin, end,
                              n_columns);
}

CsrCheck check_csr(const CsrRows& rows, std::size_t n_rows, std::int64_t nnz,
                   std::int64_t n_columns, bool finite) noexcept {
  const CsrCheck indptr =
      rows.indptr_type == IndexType::kInt32
          ? check_indptr(static_cast<const std::int32_t*>(rows.indptr), n_rows, nnz)
          : check_indptr(static_cast<const std::int64_t*>(rows.indptr), n_rows, nnz);
  if (indptr.fault != CsrFault::kNone) return indptr;
  const std::size_t begin = row_start(rows, 0);
  const std::size_t end = row_start(rows, n_rows);
  return rows.index_type == IndexType::kInt32
             ? check_elements_of<std::int32_t>(rows, begin, end, n_columns, finite)
             : check_elements_of<std::int64_t>(rows, begin, end, n_columns, finite);
}
