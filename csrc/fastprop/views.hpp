// Borrowed, read-only views of the caller's arrays. A view owns nothing: whoever makes a request
// keeps the memory alive until the job has ended. Element types are kept as they came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "fastprop/kernels/kernels.hpp"

namespace fastprop {

using kernels::IndexType;
using kernels::ValueType;

struct IndexArray {
  const void* data = nullptr;
  IndexType type = IndexType::kInt64;

  std::int64_t operator[](std::int64_t i) const noexcept {
    return type == IndexType::kInt64 ? static_cast<const std::int64_t*>(data)[i]
                                     : static_cast<const std::int32_t*>(data)[i];
  }
};

struct ValueArray {
  const void* data = nullptr;
  ValueType type = ValueType::kFloat32;

  double operator[](std::int64_t i) const noexcept {
    return type == ValueType::kFloat64 ? static_cast<const double*>(data)[i]
                                       : static_cast<double>(static_cast<const float*>(data)[i]);
  }
};

// Rows in compressed sparse row form: row i owns the entries indptr[i] to indptr[i + 1].
struct CsrView {
  IndexArray indptr;
  IndexArray indices;
  ValueArray values;
  std::int64_t n_rows = 0;
  std::int64_t n_columns = 0;
  std::int64_t n_entries = 0;  // length of indices and values
  bool checked = false;        // by whoever assembled it
};

// A dense float32 matrix, one row of `width` elements a customer; rows lie `stride` apart.
struct DenseView {
  const float* data = nullptr;
  std::int64_t n_rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;

  const float* row(std::int64_t i) const noexcept { return data + i * stride; }
};

// Rows from `first` on, as the kernels take them.
inline kernels::CsrRows rows_from(const CsrView& csr, std::int64_t first) noexcept {
  const std::size_t step = csr.indptr.type == IndexType::kInt64 ? 8 : 4;
  return {static_cast<const char*>(csr.indptr.data) + static_cast<std::size_t>(first) * step,
          csr.indices.data,
          csr.values.data,
          csr.indptr.type,
          csr.indices.type,
          csr.values.type};
}

using RowsView = std::variant<CsrView, DenseView>;

inline std::int64_t row_count(const RowsView& rows) noexcept {
  return std::visit([](const auto& view) { return view.n_rows; }, rows);
}

}  // namespace fastprop
