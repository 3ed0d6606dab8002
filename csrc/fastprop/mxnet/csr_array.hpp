// A CSR array of MXNet that is refilled in place for every tile. It may be larger than its content:
// MXNet's kernels walk indptr only. Rows beyond the content are empty. Belongs to one worker.
#pragma once

#include <cstdint>

#include "fastprop/mxnet/csr_aux.hpp"
#include "fastprop/mxnet/ndarray.hpp"
#include "fastprop/views.hpp"

namespace fastprop::mxnet {

class CsrArray {
 public:
  // Room for `n_rows` rows and `capacity` entries, at least one.
  CsrArray(std::int64_t n_rows, std::int64_t n_columns, std::int64_t capacity);

  void* handle() const noexcept { return array_.get(); }
  std::int64_t capacity() const noexcept { return capacity_; }

  // Writes rows [first, first + n_rows) of `rows`, which must have been checked and must fit.
  // With `canonical`, columns are sorted and duplicates summed within each row, and the tail is
  // zeroed: for graphs that do more with the rows than multiply them. Returns the bytes written.
  std::int64_t fill(const CsrView& rows, std::int64_t first, std::int64_t n_rows, bool canonical);

 private:
  std::int64_t n_rows_;
  std::int64_t capacity_;
  OwnedNDArray array_;
  float* values_ = nullptr;
  // Straight into the array where its layout is known; otherwise into staging arrays that the C
  // API copies from.
  bool staged_ = false;
  OwnedNDArray staged_indptr_;
  OwnedNDArray staged_indices_;
  std::int64_t* indptr_ = nullptr;
  std::int64_t* indices_ = nullptr;
};

}  // namespace fastprop::mxnet
