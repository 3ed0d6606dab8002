#include "fastprop/mxnet/csr_aux.hpp"

#include <atomic>
#include <cstring>
#include <mutex>

#include "fastprop/mxnet/handle.hpp"
#include "fastprop/mxnet/ndarray.hpp"
#include "fastprop/sched/fork.hpp"

namespace fastprop::mxnet {

namespace {

// Storage::Handle of include/mxnet/storage.h.
struct StorageHandle {
  void* data;
  std::size_t size;
  int dev_type;
  int dev_id;
  int shared_pid;
  int shared_id;
};

// The first members of NDArray::Chunk of include/mxnet/ndarray.h; the vector is three pointers in
// libstdc++. An NDArray begins with the shared_ptr to its Chunk.
struct Chunk {
  StorageHandle storage;
  StorageHandle* aux_begin;
  StorageHandle* aux_end;
  StorageHandle* aux_capacity;
};

enum class Layout { kUntried, kKnown, kUnknown };

std::atomic<bool> g_enabled{true};
std::atomic<Layout> g_layout{Layout::kUntried};
ForkSafeMutex g_mutex;

CsrAux read_aux(void* handle, const void* values, std::int64_t n_indptr, std::int64_t n_indices) {
  const Chunk* chunk = *static_cast<Chunk* const*>(handle);
  if (chunk == nullptr || chunk->storage.data != values) return {};
  if (chunk->aux_begin == nullptr || chunk->aux_end - chunk->aux_begin != 2) return {};
  const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n) * 8; };
  const StorageHandle& indptr = chunk->aux_begin[0];
  const StorageHandle& indices = chunk->aux_begin[1];
  if (indptr.size != bytes(n_indptr) || indices.size != bytes(n_indices)) return {};
  return {static_cast<std::int64_t*>(indptr.data), static_cast<std::int64_t*>(indices.data)};
}

OwnedNDArray int64_array(const std::int64_t* values, std::int64_t n) {
  return copy_dense({n}, DType::kInt64, values);
}

bool holds(void* handle, std::uint32_t aux, const std::int64_t* expected, std::int64_t n) {
  void* copy = nullptr;
  FASTPROP_MXNET(MXNDArrayGetAuxNDArray, handle, aux, &copy);
  const OwnedNDArray owned(copy);
  FASTPROP_MXNET(MXNDArrayWaitToRead, copy);
  return std::memcmp(data_of(owned), expected, static_cast<std::size_t>(n) * 8) == 0;
}

bool layout_holds() {
  int aux_types[2] = {static_cast<int>(DType::kInt64), static_cast<int>(DType::kInt64)};
  int aux_ndims[2] = {1, 1};
  const std::int64_t aux_shapes[2] = {3, 5};
  const std::int64_t shape[2] = {2, 11};
  void* handle = nullptr;
  FASTPROP_MXNET(MXNDArrayCreateSparseEx64, 2, shape, 2, 1, 0, 0, 0, 2, aux_types, aux_ndims,
                 aux_shapes, &handle);
  const OwnedNDArray array(handle);
  void* values = data_of(array);
  const CsrAux aux = read_aux(handle, values, 3, 5);
  if (aux.indptr == nullptr || aux.indices == nullptr) return false;

  // Written through the C API, read through the addresses.
  const std::int64_t indptr[3] = {0, 2, 5};
  const std::int64_t indices[5] = {7, 1, 10, 4, 2};
  FASTPROP_MXNET(MXNDArraySyncCopyFromNDArray, handle, int64_array(indptr, 3).get(), 0);
  FASTPROP_MXNET(MXNDArraySyncCopyFromNDArray, handle, int64_array(indices, 5).get(), 1);
  if (std::memcmp(aux.indptr, indptr, sizeof indptr) != 0) return false;
  if (std::memcmp(aux.indices, indices, sizeof indices) != 0) return false;

  // Written through the addresses, read through the C API.
  const std::int64_t other_indptr[3] = {0, 4, 5};
  const std::int64_t other_indices[5] = {3, 0, 9, 8, 6};
  std::memcpy(aux.indptr, other_indptr, sizeof other_indptr);
  std::memcpy(aux.indices, other_indices, sizeof other_indices);
  return holds(handle, 0, other_indptr, 3) && holds(handle, 1, other_indices, 5);
}

}  // namespace

CsrAux find_csr_aux(void* handle, const void* values, std::int64_t n_indptr,
                    std::int64_t n_indices) {
  if (!g_enabled.load(std::memory_order_acquire)) return {};
  if (g_layout.load(std::memory_order_acquire) == Layout::kUntried) {
    std::lock_guard lock(g_mutex);
    if (g_layout.load(std::memory_order_acquire) == Layout::kUntried) {
      const int version = library_info().version;
      const bool known = version >= 10900 && version < 11000 && layout_holds();
      g_layout.store(known ? Layout::kKnown : Layout::kUnknown, std::memory_order_release);
    }
  }
  if (g_layout.load(std::memory_order_acquire) != Layout::kKnown) return {};
  return read_aux(handle, values, n_indptr, n_indices);
}

void set_csr_aux_enabled(bool enabled) noexcept {
  g_enabled.store(enabled, std::memory_order_release);
}

}  // namespace fastprop::mxnet
