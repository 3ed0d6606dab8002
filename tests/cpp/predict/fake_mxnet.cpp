#include "predict/fake_mxnet.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "fastprop/mxnet/api.hpp"
#include "testing.hpp"

namespace testing {

namespace {

constexpr int kFloat32 = 0;
constexpr int kInt64 = 6;
constexpr int kRowSparse = 1;

thread_local bool t_is_no_worker = false;

FakeMxnet g_fake;
std::timed_mutex g_lock;
thread_local std::string t_error;

int fail(const char* message) {
  t_error = message;
  return -1;
}

// Whether this call is the one that is to fail.
bool injected() {
  int left = g_fake.fail_call.load();
  while (left > 0 && !g_fake.fail_call.compare_exchange_weak(left, left - 1)) {
  }
  return left == 1;
}

void expect_worker() { CHECK(!t_is_no_worker, "MXNet is called on worker threads only"); }

// As the first members of MXNet's own (csrc/fastprop/mxnet/csr_aux.cpp).
struct Storage {
  void* data = nullptr;
  std::size_t size = 0;
  int unused[4] = {};
};

struct Chunk {
  Storage storage;
  std::vector<Storage> aux;
};

struct Array {
  Chunk* visible = nullptr;  // null: an unknown layout
  std::unique_ptr<Chunk> chunk = std::make_unique<Chunk>();
  std::vector<std::int64_t> shape;
  int dtype = kFloat32;
  std::vector<std::unique_ptr<std::int64_t[]>> memory;  // 8-byte aligned
  void* manager = nullptr;                              // a DLManagedTensor that is borrowed from

  Array() { g_fake.handles.fetch_add(1); }
  ~Array() { g_fake.handles.fetch_sub(1); }

  Storage allocate(std::size_t bytes) {
    memory.emplace_back(new std::int64_t[bytes / 8 + 1]);
    Storage storage;
    storage.data = memory.back().get();
    storage.size = bytes;
    return storage;
  }
};

struct Symbol {
  std::vector<std::string> names;
  std::vector<const char*> listed;
};

struct Executor {
  std::vector<Array*> arguments;
  std::vector<Array*> outputs;
  std::vector<void*> handed_over;
  std::thread::id thread;
  bool owns_outputs = true;  // until they are handed over
};

std::size_t element_bytes(int dtype) { return dtype == kInt64 ? 8 : 4; }

std::size_t count(const std::vector<std::int64_t>& shape) {
  return static_cast<std::size_t>(
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
}

Array* make_array(const std::int64_t* shape, int ndim, int dtype) {
  auto array = std::make_unique<Array>();
  array->shape.assign(shape, shape + ndim);
  array->dtype = dtype;
  array->chunk->storage = array->allocate(count(array->shape) * element_bytes(dtype));
  return array.release();
}

int create(const std::int64_t* shape, int ndim, int, int, int, int dtype, void** out) {
  expect_worker();
  if (injected()) return fail("injected");
  *out = make_array(shape, ndim, dtype);
  return 0;
}

int create_sparse(int storage, const std::int64_t* shape, int ndim, int, int, int, int dtype,
                  std::uint32_t num_aux, int*, int*, const std::int64_t* aux_shape, void** out) {
  expect_worker();
  if (injected()) return fail("injected");
  auto array = std::make_unique<Array>();
  array->shape.assign(shape, shape + ndim);
  array->dtype = dtype;
  auto stored = static_cast<std::size_t>(aux_shape[num_aux - 1]);
  if (storage == kRowSparse) stored *= count({array->shape.begin() + 1, array->shape.end()});
  array->chunk->storage = array->allocate(stored * 4);
  for (std::uint32_t i = 0; i < num_aux; ++i) {
    array->chunk->aux.push_back(array->allocate(static_cast<std::size_t>(aux_shape[i]) * 8));
  }
  if (g_fake.known_layout.load()) array->visible = array->chunk.get();
  *out = array.release();
  return 0;
}

// The head of DLManagedTensor, and where its deleter is.
struct DlPack {
  void* data;
  int device[2];
  int ndim;
  std::uint32_t dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
  void* manager;
  void (*deleter)(DlPack*);
};

int from_dlpack(void* dlpack, bool, void** out) {
  expect_worker();
  if (injected()) return fail("injected");
  const auto* tensor = static_cast<DlPack*>(dlpack);
  g_fake.wrapped_type.store(tensor->dtype);
  auto array = std::make_unique<Array>();
  array->shape.assign(tensor->shape, tensor->shape + tensor->ndim);
  array->chunk->storage.data = tensor->data;
  array->manager = dlpack;
  *out = array.release();
  return 0;
}

int free_array(void* handle) {
  expect_worker();
  auto* array = static_cast<Array*>(handle);
  if (array->manager != nullptr) {
    auto* tensor = static_cast<DlPack*>(array->manager);
    tensor->deleter(tensor);
  }
  delete array;
  return 0;
}

int get_data(void* handle, void** out) {
  if (injected()) return fail("injected");
  *out = static_cast<Array*>(handle)->chunk->storage.data;
  return 0;
}

int get_shape(void* handle, int* ndim, const std::int64_t** shape) {
  if (injected()) return fail("injected");
  const auto* array = static_cast<Array*>(handle);
  *ndim = static_cast<int>(array->shape.size());
  *shape = array->shape.data();
  return 0;
}

int get_dtype(void* handle, int* dtype) {
  if (injected()) return fail("injected");
  *dtype = static_cast<Array*>(handle)->dtype;
  return 0;
}

int get_aux(void* handle, std::uint32_t i, void** out) {
  expect_worker();
  if (injected()) return fail("injected");
  const Storage& aux = static_cast<Array*>(handle)->chunk->aux.at(i);
  const auto n = static_cast<std::int64_t>(aux.size / 8);
  Array* const copy = make_array(&n, 1, kInt64);
  std::memcpy(copy->chunk->storage.data, aux.data, aux.size);
  *out = copy;
  return 0;
}

int copy_from(void* to, void* from, int i) {
  expect_worker();
  if (injected()) return fail("injected");
  const Storage& source = static_cast<Array*>(from)->chunk->storage;
  Chunk& chunk = *static_cast<Array*>(to)->chunk;
  const Storage& target = i < 0 ? chunk.storage : chunk.aux.at(static_cast<std::size_t>(i));
  if (source.size != target.size) return fail("sizes differ");
  std::memcpy(target.data, source.data, source.size);
  return 0;
}

int create_symbol(const char* json, void** out) {
  expect_worker();
  if (injected()) return fail("injected");
  if (std::strcmp(json, "fake") != 0) return fail("not a fake graph");
  auto* symbol = new Symbol{{"data", "bias"}, {}};
  for (const std::string& name : symbol->names) symbol->listed.push_back(name.c_str());
  g_fake.handles.fetch_add(1);
  *out = symbol;
  return 0;
}

int free_symbol(void* handle) {
  expect_worker();
  delete static_cast<Symbol*>(handle);
  g_fake.handles.fetch_sub(1);
  return 0;
}

int list_arguments(void* handle, std::uint32_t* n, const char*** names) {
  if (injected()) return fail("injected");
  auto* symbol = static_cast<Symbol*>(handle);
  *n = static_cast<std::uint32_t>(symbol->listed.size());
  *names = symbol->listed.data();
  return 0;
}

int list_auxiliary(void*, std::uint32_t* n, const char*** names) {
  if (injected()) return fail("injected");
  *n = 0;
  *names = nullptr;
  return 0;
}

int bind(void*, int, int, std::uint32_t, const char**, const int*, const int*, std::uint32_t n,
         void** arguments, void**, std::uint32_t*, std::uint32_t, void**, void*, void** out) {
  static std::atomic<pid_t> binding{0};  // by which process: a fork may lose who is at it
  expect_worker();
  if (injected()) return fail("injected");
  CHECK(binding.exchange(getpid()) != getpid(), "binds come one after the other");
  std::this_thread::sleep_for(std::chrono::microseconds(100));  // for others to come in between
  auto* executor = new Executor;
  g_fake.handles.fetch_add(1);
  executor->thread = std::this_thread::get_id();
  for (std::uint32_t i = 0; i < n; ++i) {
    executor->arguments.push_back(static_cast<Array*>(arguments[i]));
  }
  const std::int64_t shape[] = {executor->arguments[0]->shape[0], executor->arguments[1]->shape[0]};
  executor->outputs.push_back(make_array(shape, 2, g_fake.head_dtype.load()));
  executor->handed_over.push_back(executor->outputs.back());
  *out = executor;
  binding.store(0);
  return 0;
}

int outputs(void* handle, std::uint32_t* n, void*** out) {
  auto* executor = static_cast<Executor*>(handle);
  if (injected()) return fail("injected");
  executor->owns_outputs = false;
  *n = 1;
  *out = executor->handed_over.data();
  return 0;
}

float row_sum(const Array& rows, std::int64_t i) {
  const auto* values = static_cast<const float*>(rows.chunk->storage.data);
  std::int64_t begin = i * rows.shape[1];
  std::int64_t end = begin + rows.shape[1];
  if (!rows.chunk->aux.empty()) {
    const auto* indptr = static_cast<const std::int64_t*>(rows.chunk->aux[0].data);
    begin = indptr[i];
    end = indptr[i + 1];
  }
  return std::accumulate(values + begin, values + end, 0.0F);
}

int forward(void* handle, int) {
  expect_worker();
  const auto* executor = static_cast<Executor*>(handle);
  if (injected()) return fail("injected");
  CHECK(executor->thread == std::this_thread::get_id(), "an executor stays on its thread");
  const int number = g_fake.forwards.fetch_add(1) + 1;
  const int fail_every = g_fake.fail_every.load();
  if (fail_every != 0 && number % fail_every == 0) return fail("injected");
  if (const std::chrono::milliseconds time(g_fake.locked_ms.load()); time.count() != 0) {
    const std::unique_lock lock(g_lock, std::chrono::seconds(10));
    CHECK(lock.owns_lock(), "a lock of the library is never given back");
    g_fake.is_locked.store(true);
    std::this_thread::sleep_for(time);
    g_fake.is_locked.store(false);
  }
  const Array& rows = *executor->arguments[0];
  const auto* bias = static_cast<const float*>(executor->arguments[1]->chunk->storage.data);
  const Array& head = *executor->outputs[0];
  auto* out = static_cast<float*>(head.chunk->storage.data);
  for (std::int64_t i = 0; i < head.shape[0]; ++i) {
    const float sum = row_sum(rows, i);
    for (std::int64_t c = 0; c < head.shape[1]; ++c) {
      *out++ = bias[c] + static_cast<float>(c + 1) * sum;
    }
  }
  return 0;
}

int free_executor(void* handle) {
  expect_worker();
  const auto* executor = static_cast<Executor*>(handle);
  if (executor->owns_outputs) delete executor->outputs.front();
  delete executor;
  g_fake.handles.fetch_sub(1);
  return 0;
}

fastprop::mxnet::Api table() {
  fastprop::mxnet::Api api{};
  api.MXGetLastError = [] { return t_error.c_str(); };
  api.MXSetNumOMPThreads = [](int) {
    expect_worker();
    return injected() ? fail("injected") : 0;
  };
  api.MXNDArrayCreateEx64 = create;
  api.MXNDArrayCreateSparseEx64 = create_sparse;
  api.MXNDArrayFromDLPackEx = from_dlpack;
  api.MXNDArrayFree = free_array;
  api.MXNDArrayGetData = get_data;
  api.MXNDArrayGetShapeEx64 = get_shape;
  api.MXNDArrayGetDType = get_dtype;
  api.MXNDArrayGetAuxNDArray = get_aux;
  api.MXNDArraySyncCopyFromNDArray = copy_from;
  api.MXNDArrayWaitToRead = [](void*) { return injected() ? fail("injected") : 0; };
  api.MXSymbolCreateFromJSON = create_symbol;
  api.MXSymbolFree = free_symbol;
  api.MXSymbolListArguments = list_arguments;
  api.MXSymbolListAuxiliaryStates = list_auxiliary;
  api.MXExecutorBindEX = bind;
  api.MXExecutorForward = forward;
  api.MXExecutorOutputs = outputs;
  api.MXExecutorFree = free_executor;
  return api;
}

}  // namespace

FakeMxnet& fake_mxnet() {
  static const bool installed = [] {
    fastprop::mxnet::install_api(table(), {"fake", 10901, true});
    return true;
  }();
  (void)installed;
  return g_fake;
}

void this_thread_is_no_worker() { t_is_no_worker = true; }

fastprop::MxnetSpec fake_spec(bool sparse) {
  auto bias = std::make_shared<std::vector<float>>();
  for (std::int64_t c = 0; c < kFakeLabels; ++c) bias->push_back(static_cast<float>(c) / 4);
  fastprop::MxnetParameter parameter;
  parameter.name = "bias";
  parameter.mode = fastprop::MxnetParameter::Mode::kBorrow;
  parameter.shape = {kFakeLabels};
  parameter.data = bias->data();
  fastprop::MxnetSpec spec;
  spec.symbol_json = "fake";
  spec.arguments = {parameter};
  spec.inputs = {{"data", sparse, {kFakeFeatures}}};
  spec.head_widths = {kFakeLabels};
  spec.owner = bias;
  return spec;
}

}  // namespace testing
