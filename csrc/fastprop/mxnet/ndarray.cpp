#include "fastprop/mxnet/ndarray.hpp"

#include <cstring>
#include <memory>
#include <numeric>
#include <string>

#include "fastprop/error.hpp"

namespace fastprop::mxnet {

namespace {

constexpr int kCpu = 1;
constexpr int kRowSparse = 1;

// The structures of DLPack 0.x (dmlc/dlpack, dlpack.h), which MXNet 1.9.1 was built with.
struct DlContext {
  int device_type;
  int device_id;
};
struct DlDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DlTensor {
  void* data;
  DlContext ctx;
  int ndim;
  DlDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DlManagedTensor {
  DlTensor tensor;
  void* manager;
  void (*deleter)(DlManagedTensor*);
};

struct Wrapped {
  DlManagedTensor tensor{};
  Shape shape;
};

DlDataType dl_type(DType dtype) {
  constexpr std::uint8_t kInt = 0;
  constexpr std::uint8_t kUint = 1;
  constexpr std::uint8_t kFloat = 2;
  const auto bits = static_cast<std::uint8_t>(8 * element_size(dtype));
  switch (dtype) {
    case DType::kInt8:
    case DType::kInt32:
    case DType::kInt64:
      return {kInt, bits, 1};
    case DType::kUint8:
      return {kUint, bits, 1};
    case DType::kFloat16:
    case DType::kFloat32:
    case DType::kFloat64:
      break;
  }
  return {kFloat, bits, 1};
}

}  // namespace

std::int64_t element_count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1},
                         [](std::int64_t a, std::int64_t b) { return a * b; });
}

std::int64_t element_size(DType dtype) {
  switch (dtype) {
    case DType::kUint8:
    case DType::kInt8:
      return 1;
    case DType::kFloat16:
      return 2;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
  }
  throw Error(ErrorKind::kEngine,
              "MXNet type flag " + std::to_string(static_cast<int>(dtype)) + " is not supported");
}

OwnedNDArray make_dense(const Shape& shape, DType dtype) {
  void* handle = nullptr;
  FASTPROP_MXNET(MXNDArrayCreateEx64, shape.data(), static_cast<int>(shape.size()), kCpu, 0, 0,
                 static_cast<int>(dtype), &handle);
  return OwnedNDArray(handle);
}

OwnedNDArray copy_dense(const Shape& shape, DType dtype, const void* data) {
  OwnedNDArray array = make_dense(shape, dtype);
  const auto bytes = static_cast<std::size_t>(element_count(shape) * element_size(dtype));
  if (bytes != 0) std::memcpy(data_of(array), data, bytes);
  return array;
}

OwnedNDArray wrap_dense(const Shape& shape, DType dtype, const void* data) {
  auto wrapped = std::make_unique<Wrapped>();
  wrapped->shape = shape;
  wrapped->tensor.tensor = {const_cast<void*>(data),
                            {kCpu, 0},
                            static_cast<int>(shape.size()),
                            dl_type(dtype),
                            wrapped->shape.data(),
                            nullptr,
                            0};
  wrapped->tensor.manager = wrapped.get();
  wrapped->tensor.deleter = [](DlManagedTensor* tensor) {
    delete static_cast<Wrapped*>(tensor->manager);
  };
  void* handle = nullptr;
  FASTPROP_MXNET(MXNDArrayFromDLPackEx, &wrapped->tensor, false, &handle);
  wrapped.release();  // the array's deleter has it now
  return OwnedNDArray(handle);
}

OwnedNDArray copy_full_row_sparse(const Shape& shape, DType dtype, const void* data) {
  int aux_type = static_cast<int>(DType::kInt64);
  int aux_ndim = 1;
  const std::int64_t aux_shape = shape.at(0);
  void* handle = nullptr;
  FASTPROP_MXNET(MXNDArrayCreateSparseEx64, kRowSparse, shape.data(),
                 static_cast<int>(shape.size()), kCpu, 0, 0, static_cast<int>(dtype), 1, &aux_type,
                 &aux_ndim, &aux_shape, &handle);
  OwnedNDArray array(handle);
  const OwnedNDArray rows = make_dense({shape.at(0)}, DType::kInt64);
  auto* row = static_cast<std::int64_t*>(data_of(rows));
  std::iota(row, row + shape.at(0), std::int64_t{0});
  FASTPROP_MXNET(MXNDArraySyncCopyFromNDArray, array.get(), rows.get(), 0);
  const auto bytes = static_cast<std::size_t>(element_count(shape) * element_size(dtype));
  if (bytes != 0) std::memcpy(data_of(array), data, bytes);
  return array;
}

void* data_of(const OwnedNDArray& array) {
  void* data = nullptr;
  FASTPROP_MXNET(MXNDArrayGetData, array.get(), &data);
  return data;
}

Shape shape_of(void* handle) {
  int ndim = 0;
  const std::int64_t* dims = nullptr;
  FASTPROP_MXNET(MXNDArrayGetShapeEx64, handle, &ndim, &dims);
  return ndim > 0 ? Shape(dims, dims + ndim) : Shape();
}

DType dtype_of(void* handle) {
  int dtype = 0;
  FASTPROP_MXNET(MXNDArrayGetDType, handle, &dtype);
  return static_cast<DType>(dtype);
}

}  // namespace fastprop::mxnet
