#include "fastprop/mxnet/csr_array.hpp"

#include <algorithm>

#include "fastprop/csr_copy.hpp"

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
  const std::int64_t written = rows.indptr[first + n_rows] - rows.indptr[first];
  const std::int64_t n = copy_rows(rows, first, n_rows, canonical, indptr_, indices_, values_);
  if (canonical) {
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
