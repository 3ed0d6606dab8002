// The CSR check: sound matrices pass, and a fault put anywhere is found there, the first of
// several.

#include <algorithm>
#include <tuple>

#include "testing.hpp"

namespace testing {
namespace {

template <class Index, class Indptr, class Value>
void check_types(const Kernels& kernels) {
  Random random(19);
  for (int round = 0; round < 300; ++round) {
    const std::size_t n_rows = random.coin() ? random.below(10) : random.below(5000);
    const std::int64_t n_columns = 1 + std::int64_t(random.below(1000));
    std::vector<Indptr> lengths(n_rows + 1, 0);
    Guarded<Indptr> indptr(n_rows + 1);
    indptr[0] = static_cast<Indptr>(random.below(4));
    for (std::size_t r = 0; r < n_rows; ++r) {
      indptr[r + 1] = static_cast<Indptr>(indptr[r] + Indptr(random.below(5)));
    }
    const auto begin = static_cast<std::size_t>(indptr[0]);
    const auto end = static_cast<std::size_t>(indptr[n_rows]);
    Guarded<Index> indices(end);
    Guarded<Value> values(end);
    for (std::size_t i = 0; i < end; ++i) {
      indices[i] = static_cast<Index>(random.below(static_cast<std::size_t>(n_columns)));
      values[i] = static_cast<Value>(random.value(1e30));
    }
    for (std::size_t i = 0; i < begin; ++i) {  // before the slice: nobody's business
      indices[i] = -1;
      values[i] = std::numeric_limits<Value>::infinity();
    }
    CsrRows rows;
    rows.indptr = indptr.data();
    rows.indices = indices.data();
    rows.values = values.data();
    rows.indptr_type = sizeof(Indptr) == 4 ? IndexType::kInt32 : IndexType::kInt64;
    rows.index_type = sizeof(Index) == 4 ? IndexType::kInt32 : IndexType::kInt64;
    rows.value_type = sizeof(Value) == 4 ? ValueType::kFloat32 : ValueType::kFloat64;
    const auto nnz = static_cast<std::int64_t>(end + random.below(2));
    const auto check = [&](bool finite) {
      return kernels.check_csr(rows, n_rows, nnz, n_columns, finite);
    };
    const auto expect = [&](CsrFault fault, std::size_t position, const char* what) {
      const CsrCheck got = check(true);
      CHECK(got.fault == fault && got.position == position, "%s: fault %d at %zu, not %d at %zu",
            what, int(got.fault), got.position, int(fault), position);
    };
    expect(CsrFault::kNone, 0, "sound");

    // Up to three faults of elements; the lowest place wins, an index before a value.
    std::tuple<std::size_t, int> first{end, 0};
    for (std::size_t i = random.below(4); i > 0 && begin < end; --i) {
      const std::size_t at = begin + random.below(end - begin);
      const bool in_index = random.coin();
      if (in_index) {
        const std::int64_t bad[] = {-1, n_columns, std::numeric_limits<Index>::max(),
                                    std::numeric_limits<Index>::min()};
        indices[at] = static_cast<Index>(bad[random.below(4)]);
      } else {
        const Value bad[] = {std::numeric_limits<Value>::infinity(),
                             -std::numeric_limits<Value>::infinity(),
                             std::numeric_limits<Value>::quiet_NaN()};
        values[at] = bad[random.below(3)];
      }
      first = std::min(first, std::tuple<std::size_t, int>{at, in_index ? 0 : 1});
    }
    const auto [at, kind] = first;
    if (at < end) {
      expect(kind == 0 ? CsrFault::kIndexRange : CsrFault::kValueFinite, at, "element");
    }
    const CsrCheck lenient = check(false);
    CHECK(lenient.fault == CsrFault::kNone || lenient.fault == CsrFault::kIndexRange, "lenient");

    // Faults of indptr go before those of elements.
    if (n_rows > 0) {
      const std::size_t row = 1 + random.below(n_rows);
      const Indptr kept = indptr[row];
      if (indptr[row - 1] > 0) {
        indptr[row] = static_cast<Indptr>(indptr[row - 1] - 1);
        expect(CsrFault::kIndptrOrder, row, "decreasing");
        indptr[row] = kept;
      }
      const Indptr last = indptr[n_rows];
      indptr[n_rows] = static_cast<Indptr>(nnz + 1);
      expect(CsrFault::kIndptrEnd, n_rows, "end");
      indptr[n_rows] = last;
    }
    indptr[0] = -1;
    expect(CsrFault::kIndptrStart, 0, "start");
  }
}

void check_limits(const Kernels& kernels) {
  const std::int32_t narrow[1] = {std::numeric_limits<std::int32_t>::max()};
  const std::int64_t wide[1] = {std::numeric_limits<std::int64_t>::max() - 1};
  const std::int64_t indptr[2] = {0, 1};
  CsrRows rows;
  rows.indptr = indptr;
  rows.indices = narrow;
  const auto fault = [&](std::int64_t n_columns) {
    return kernels.check_csr(rows, 1, 1, n_columns, true).fault;
  };
  CHECK(fault(std::int64_t{1} << 40) == CsrFault::kNone, "any int32 is in range");
  CHECK(fault(std::int64_t{0x7FFFFFFF}) == CsrFault::kIndexRange, "the limit itself is not");
  CHECK(fault(0) == CsrFault::kIndexRange, "no columns");
  rows.indices = wide;
  rows.index_type = IndexType::kInt64;
  CHECK(fault(std::numeric_limits<std::int64_t>::max()) == CsrFault::kNone, "wide");
  CHECK(fault(wide[0]) == CsrFault::kIndexRange, "wide limit");
}

}  // namespace

void test_check_csr(const Kernels& kernels) {
  check_types<std::int32_t, std::int32_t, float>(kernels);
  check_types<std::int32_t, std::int64_t, double>(kernels);
  check_types<std::int64_t, std::int64_t, float>(kernels);
  check_types<std::int64_t, std::int32_t, double>(kernels);
  check_limits(kernels);
}

}  // namespace testing
