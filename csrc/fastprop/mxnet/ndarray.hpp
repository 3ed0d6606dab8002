// MXNet arrays on the CPU: allocated by MXNet, or wrapped around memory of ours without a copy.
// Call on worker threads only. Fails with kEngine.
#pragma once

#include <cstdint>
#include <vector>

#include "fastprop/mxnet/handle.hpp"

namespace fastprop::mxnet {

using Shape = std::vector<std::int64_t>;

// Type flags of mshadow (mshadow/base.h).
enum class DType : int {
  kFloat32 = 0,
  kFloat64 = 1,
  kFloat16 = 2,
  kUint8 = 3,
  kInt32 = 4,
  kInt8 = 5,
  kInt64 = 6,
};

std::int64_t element_count(const Shape& shape);
std::int64_t element_size(DType dtype);

// Allocated by MXNet, uninitialised.
OwnedNDArray make_dense(const Shape& shape, DType dtype);
// Allocated by MXNet, a copy of `data`.
OwnedNDArray copy_dense(const Shape& shape, DType dtype, const void* data);
// Borrows `data`, which must outlive the array and is never written.
OwnedNDArray wrap_dense(const Shape& shape, DType dtype, const void* data);
// A row_sparse array that stores all rows, in order: a copy of `data`.
OwnedNDArray copy_full_row_sparse(const Shape& shape, DType dtype, const void* data);

void* data_of(const OwnedNDArray& array);
Shape shape_of(void* handle);
DType dtype_of(void* handle);

}  // namespace fastprop::mxnet
