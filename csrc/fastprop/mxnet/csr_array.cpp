#include "fastprop/mxnet/csr_array.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fastprop::mxnet {

namespace {

constexpr int kCsr = 2;

OwnedNDArray make_csr(std::int64_t n_rows, std::int64_t n_columns, std::int64_t capacity) {
  int aux_types[2] = {static_cast<int>(DType::kInt64), static_cast<int>(DType::kInt64)};
  int aux_ndims[2] = {1, 1};
  const std::int64_t aux_shapes[2] = {n_rows + 1, capacity};
  const std::int64_t shape[2] = {n_rows, n_columns};
  void* handle = nullptr;
  FASTPROP_MXNET(MXNDArrayCreateSparseEx64, kCsr, shape, 2, 1, 0, 0,
                 static_cast<int>(DType::kFloat32), 2, aux_types, aux_ndims, aux_shapes, &handle);
  return OwnedNDArray(handle);
}

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

CsrArray::CsrArray(std::int64_t n_rows, std::int64_t n_columns, std::int64_t capacity)
    : n_rows_(n_rows),
      capacity_(std::max<std::int64_t>(capacity, 1)),
      array_(make_csr(n_rows, n_columns, capacity_)),
      values_(static_cast<float*>(data_of(array_))) {
  const CsrAux aux = find_csr_aux(array_.get(), values_, n_rows_ + 1, capacity_);
  indptr_ = aux.indptr;
  indices_ = aux.indices;
  if (indptr_ == nullptr || indices_ == nullptr) {
    staged_ = true;
    staged_indptr_ = make_dense({n_rows_ + 1}, DType::kInt64);
    staged_indices_ = make_dense({capacity_}, DType::kInt64);
    indptr_ = static_cast<std::int64_t*>(data_of(staged_indptr_));
    indices_ = static_cast<std::int64_t*>(data_of(staged_indices_));
  }
  // The tail is never read, but whatever walks the whole array must find valid columns there.
  std::fill_n(indices_, capacity_, 0);
  std::fill_n(values_, capacity_, 0.0F);
}

std::int64_t CsrArray::fill(const CsrView& rows, std::int64_t first, std::int64_t n_rows,
                            bool canonical) {
  const std::int64_t begin = rows.indptr[first];
  std::int64_t n = rows.indptr[first + n_rows] - begin;
  copy_values(rows.values, begin, n, values_);
  copy_indices(rows.indices, begin, n, indices_);
  const std::int64_t written = n;
  for (std::int64_t i = 0; i <= n_rows; ++i) indptr_[i] = rows.indptr[first + i] - begin;
  if (canonical) {
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < n_rows; ++i) {
      const std::int64_t from = indptr_[i];
      const std::int64_t count =
          make_canonical(indices_ + from, values_ + from, indptr_[i + 1] - from);
      std::copy_n(indices_ + from, count, indices_ + kept);
      std::copy_n(values_ + from, count, values_ + kept);
      indptr_[i] = kept;
      kept += count;
    }
    n = kept;
    indptr_[n_rows] = n;
    std::fill(indices_ + n, indices_ + capacity_, 0);
    std::fill(values_ + n, values_ + capacity_, 0.0F);
  }
  std::fill(indptr_ + n_rows + 1, indptr_ + n_rows_ + 1, n);
  std::int64_t bytes = 12 * written + 8 * (n_rows_ + 1);
  if (staged_) {
    FASTPROP_MXNET(MXNDArraySyncCopyFromNDArray, array_.get(), staged_indptr_.get(), 0);
    FASTPROP_MXNET(MXNDArraySyncCopyFromNDArray, array_.get(), staged_indices_.get(), 1);
    bytes += 8 * (n_rows_ + 1) + 8 * capacity_;
  }
  return bytes;
}

}  // namespace fastprop::mxnet
