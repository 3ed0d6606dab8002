#include "fastprop/csr_copy.hpp"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace fastprop {

namespace {

template <typename From, typename To>
void convert(const void* from, std::int64_t first, std::int64_t n, To* to) {
  const From* source = static_cast<const From*>(from) + first;
  std::transform(source, source + n, to, [](From value) { return static_cast<To>(value); });
}

void copy_indices(const IndexArray& from, std::int64_t first, std::int64_t n, std::int64_t* to) {
  if (from.type == IndexType::kInt64) {
    convert<std::int64_t>(from.data, first, n, to);
  } else {
    convert<std::int32_t>(from.data, first, n, to);
  }
}

void copy_values(const ValueArray& from, std::int64_t first, std::int64_t n, float* to) {
  if (from.type == ValueType::kFloat64) {
    convert<double>(from.data, first, n, to);
  } else {
    convert<float>(from.data, first, n, to);
  }
}

// Sorts the columns of one row and sums duplicates; returns how many entries are left.
std::int64_t make_canonical(std::int64_t* indices, float* values, std::int64_t n) {
  if (std::adjacent_find(indices, indices + n, std::greater_equal<>()) == indices + n) return n;
  std::vector<std::pair<std::int64_t, float>> entries(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    entries[static_cast<std::size_t>(i)] = {indices[i], values[i]};
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::int64_t kept = 0;
  for (const auto& [index, value] : entries) {
    if (kept != 0 && indices[kept - 1] == index) {
      values[kept - 1] += value;
    } else {
      indices[kept] = index;
      values[kept] = value;
      ++kept;
    }
  }
  return kept;
}

}  // namespace

std::int64_t copy_rows(const CsrView& rows, std::int64_t first, std::int64_t n_rows, bool canonical,
                       std::int64_t* indptr, std::int64_t* indices, float* values) {
  const std::int64_t begin = rows.indptr[first];
  const std::int64_t n = rows.indptr[first + n_rows] - begin;
  copy_values(rows.values, begin, n, values);
  copy_indices(rows.indices, begin, n, indices);
  for (std::int64_t i = 0; i <= n_rows; ++i) indptr[i] = rows.indptr[first + i] - begin;
  if (!canonical) return n;
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < n_rows; ++i) {
    const std::int64_t from = indptr[i];
    const std::int64_t count = make_canonical(indices + from, values + from, indptr[i + 1] - from);
    std::copy_n(indices + from, count, indices + kept);
    std::copy_n(values + from, count, values + kept);
    indptr[i] = kept;
    kept += count;
  }
  indptr[n_rows] = kept;
  return kept;
}

}  // namespace fastprop
