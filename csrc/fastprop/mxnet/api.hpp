// The few functions of MXNet's C API that fastprop calls, as a table filled by dlopen. There is no
// link-time dependency: building needs no MXNet, and tests can install a table of their own.
// Signatures follow include/mxnet/c_api.h of MXNet 1.9.1 (Apache-2.0).
#pragma once

#include <cstdint>
#include <string>

#include "fastprop/sched/fork.hpp"

namespace fastprop::mxnet {

using NDArrayHandle = void*;
using SymbolHandle = void*;
using ExecutorHandle = void*;

struct Api {
  const char* (*MXGetLastError)();
  int (*MXGetVersion)(int* out);
  int (*MXSetNumOMPThreads)(int thread_num);
  int (*MXListAllOpNames)(uint32_t* out_size, const char*** out_array);
  int (*MXEngineSetBulkSize)(int bulk_size, int* prev_bulk_size);
  int (*MXNDArrayCreateEx64)(const int64_t* shape, int ndim, int dev_type, int dev_id,
                             int delay_alloc, int dtype, NDArrayHandle* out);
  int (*MXNDArrayCreateSparseEx64)(int storage_type, const int64_t* shape, int ndim, int dev_type,
                                   int dev_id, int delay_alloc, int dtype, uint32_t num_aux,
                                   int* aux_type, int* aux_ndims, const int64_t* aux_shape,
                                   NDArrayHandle* out);
  int (*MXNDArrayFromDLPackEx)(void* dlpack, bool transient_handle, NDArrayHandle* out_handle);
  int (*MXNDArrayFree)(NDArrayHandle handle);
  int (*MXNDArrayGetData)(NDArrayHandle handle, void** out_pdata);
  int (*MXNDArrayGetShapeEx64)(NDArrayHandle handle, int* out_dim, const int64_t** out_pdata);
  int (*MXNDArrayGetDType)(NDArrayHandle handle, int* out_dtype);
  int (*MXNDArrayGetAuxNDArray)(NDArrayHandle handle, uint32_t i, NDArrayHandle* out);
  int (*MXNDArraySyncCopyFromNDArray)(NDArrayHandle handle_dst, const NDArrayHandle handle_src,
                                      const int i);
  int (*MXNDArrayWaitToRead)(NDArrayHandle handle);
  int (*MXSymbolCreateFromJSON)(const char* json, SymbolHandle* out);
  int (*MXSymbolFree)(SymbolHandle symbol);
  int (*MXSymbolListArguments)(SymbolHandle symbol, uint32_t* out_size,
                               const char*** out_str_array);
  int (*MXSymbolListAuxiliaryStates)(SymbolHandle symbol, uint32_t* out_size,
                                     const char*** out_str_array);
  int (*MXExecutorBindEX)(SymbolHandle symbol_handle, int dev_type, int dev_id,
                          uint32_t num_map_keys, const char** map_keys, const int* map_dev_types,
                          const int* map_dev_ids, uint32_t len, NDArrayHandle* in_args,
                          NDArrayHandle* arg_grad_store, uint32_t* grad_req_type,
                          uint32_t aux_states_len, NDArrayHandle* aux_states,
                          ExecutorHandle shared_exec, ExecutorHandle* out);
  int (*MXExecutorForward)(ExecutorHandle handle, int is_train);
  int (*MXExecutorOutputs)(ExecutorHandle handle, uint32_t* out_size, NDArrayHandle** out);
  int (*MXExecutorFree)(ExecutorHandle handle);
};

struct LibraryInfo {
  std::string path;
  int version = 0;           // 10901 for 1.9.1
  bool naive_engine = true;  // false: the process had already started another engine
};

// Loads libmxnet once per process; later calls return what is loaded, whatever the path. With the
// NaiveEngine and one OpenMP thread, unless the process has already started MXNet otherwise.
// Throws kEngine with the loader's message and what to install.
const LibraryInfo& load_library(const std::string& path);
bool library_loaded() noexcept;
const LibraryInfo& library_info();

// The table in use. Throws kEngine when nothing is loaded.
const Api& api();
// For tests: a table that stands in for the library, with its description.
void install_api(const Api& table, const LibraryInfo& info);

// Throws kEngine with the function's name and MXGetLastError() when `status` is not 0.
void check(int status, const char* function);

}  // namespace fastprop::mxnet

// Calls a function of the table and checks its status. oneDNN has locks that a forked child would
// find held, hence ForeignCall.
#define FASTPROP_MXNET(function, ...)                          \
  ::fastprop::mxnet::check(                                    \
      [&] {                                                    \
        const ::fastprop::ForeignCall call;                    \
        return ::fastprop::mxnet::api().function(__VA_ARGS__); \
      }(),                                                     \
      #function)
