#include "fastprop/mxnet/api.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fastprop/error.hpp"
#include "fastprop/sched/fork.hpp"

namespace fastprop::mxnet {

namespace {

struct Loaded {
  Api api;
  LibraryInfo info;
};

ForkSafeMutex g_mutex;
std::atomic<const Loaded*> g_loaded{nullptr};

// Sets an environment variable for as long as it lives: MXNet, libgomp and OpenBLAS read theirs
// while they are loaded, and the process's own settings are none of our business afterwards.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value, 1);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

void* find_function(void* library, const std::string& path, const char* name) {
  void* const found = dlsym(library, name);
  if (found == nullptr) {
    throw Error(ErrorKind::kEngine,
                path + " has no function " + name + ": fastprop needs MXNet 1.9.1 (mxnet==1.9.1)");
  }
  return found;
}

Api resolve_all(void* library, const std::string& path) {
  Api table{};
#define FASTPROP_RESOLVE(name) \
  table.name = reinterpret_cast<decltype(table.name)>(find_function(library, path, #name))
  FASTPROP_RESOLVE(MXGetLastError);
  FASTPROP_RESOLVE(MXGetVersion);
  FASTPROP_RESOLVE(MXSetNumOMPThreads);
  FASTPROP_RESOLVE(MXListAllOpNames);
  FASTPROP_RESOLVE(MXEngineSetBulkSize);
  FASTPROP_RESOLVE(MXNDArrayCreateEx64);
  FASTPROP_RESOLVE(MXNDArrayCreateSparseEx64);
  FASTPROP_RESOLVE(MXNDArrayFromDLPackEx);
  FASTPROP_RESOLVE(MXNDArrayFree);
  FASTPROP_RESOLVE(MXNDArrayGetData);
  FASTPROP_RESOLVE(MXNDArrayGetShapeEx64);
  FASTPROP_RESOLVE(MXNDArrayGetDType);
  FASTPROP_RESOLVE(MXNDArrayGetAuxNDArray);
  FASTPROP_RESOLVE(MXNDArraySyncCopyFromNDArray);
  FASTPROP_RESOLVE(MXNDArrayWaitToRead);
  FASTPROP_RESOLVE(MXSymbolCreateFromJSON);
  FASTPROP_RESOLVE(MXSymbolFree);
  FASTPROP_RESOLVE(MXSymbolListArguments);
  FASTPROP_RESOLVE(MXSymbolListAuxiliaryStates);
  FASTPROP_RESOLVE(MXExecutorBindEX);
  FASTPROP_RESOLVE(MXExecutorForward);
  FASTPROP_RESOLVE(MXExecutorOutputs);
  FASTPROP_RESOLVE(MXExecutorFree);
#undef FASTPROP_RESOLVE
  return table;
}

// Holds back what is written to standard error, to leave out the line by which MXNet announces an
// engine that we chose for it. By descriptor: MXNet's std::cerr is not ours where the C++ library
// of a wheel is its own. What else came in that moment, from whatever thread, is written after all.
class HeldErrors {
 public:
  HeldErrors() : before_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
    if (before_ < 0) return;  // there is no standard error
    held_ = memfd_create("stderr", MFD_CLOEXEC);
    if (held_ >= 0) dup2(held_, STDERR_FILENO);
  }
  HeldErrors(const HeldErrors&) = delete;
  HeldErrors& operator=(const HeldErrors&) = delete;
  ~HeldErrors() {
    if (held_ >= 0) {
      dup2(before_, STDERR_FILENO);
      for (const std::string& line : lines()) {
        if (without_.empty() || line.find(without_) == std::string::npos) write_out(line);
      }
      close(held_);
    }
    if (before_ >= 0) close(before_);
  }
  void leave_out(const char* text) { without_ = text; }

 private:
  std::vector<std::string> lines() const {
    lseek(held_, 0, SEEK_SET);
    std::vector<std::string> lines(1);
    char buffer[4096];
    for (ssize_t n = 0; (n = read(held_, buffer, sizeof buffer)) > 0;) {
      for (const char* at = buffer; at != buffer + n; ++at) {
        lines.back() += *at;
        if (*at == '\n') lines.emplace_back();
      }
    }
    return lines;
  }

  static void write_out(const std::string& line) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    static_cast<void>(written);  // there is nowhere to say that it failed
  }

  int before_;
  int held_ = -1;
  std::string without_;
};

// Only engines with worker threads keep a bulk size; NaiveEngine answers 0 whatever was set
// (src/engine/threaded_engine.h against include/mxnet/engine.h).
bool engine_is_naive(const Api& table) {
  int before = 0;
  int probe = 0;
  table.MXEngineSetBulkSize(7, &before);
  table.MXEngineSetBulkSize(before, &probe);
  return probe != 7;
}

}  // namespace

const LibraryInfo& load_library(const std::string& path) {
  std::lock_guard lock(g_mutex);
  if (const Loaded* loaded = g_loaded.load(std::memory_order_acquire)) return loaded->info;

  const ScopedVariable engine("MXNET_ENGINE_TYPE", "NaiveEngine");
  const ScopedVariable omp("OMP_NUM_THREADS", "1");
  const ScopedVariable blas("OPENBLAS_NUM_THREADS", "1");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    throw Error(ErrorKind::kEngine,
                "cannot load " + path + ": " + (reason != nullptr ? reason : "unknown reason") +
                    " (MXNet needs libgomp.so.1 and libquadmath.so.0 from the system: on Debian, "
                    "apt install libgomp1 libquadmath0)");
  }
  ForeignCall::hold_at_forks();
  const ForeignCall call;
  auto loaded = std::make_unique<Loaded>(Loaded{resolve_all(library, path), {path, 0, true}});
  if (loaded->api.MXGetVersion(&loaded->info.version) != 0 || loaded->info.version < 10900 ||
      loaded->info.version >= 20000) {
    throw Error(ErrorKind::kEngine, path + " is MXNet version " +
                                        std::to_string(loaded->info.version) +
                                        ": fastprop needs MXNet 1.9 (10900)");
  }
  {
    HeldErrors errors;
    loaded->info.naive_engine = engine_is_naive(loaded->api);
    if (loaded->info.naive_engine) errors.leave_out("MXNet start using engine");
  }
  // Completes the registration of MXNet's older operators, such as SliceChannel, which otherwise
  // bind with undefined shapes (src/c_api/c_api_symbolic.cc).
  std::uint32_t n_operators = 0;
  const char** operators = nullptr;
  loaded->api.MXListAllOpNames(&n_operators, &operators);
  // Read at the first bind: one line a bound graph on standard error otherwise.
  setenv("MXNET_SUBGRAPH_VERBOSE", "0", 0);
  const Loaded* const kept = loaded.release();
  g_loaded.store(kept, std::memory_order_release);
  return kept->info;
}

bool library_loaded() noexcept { return g_loaded.load(std::memory_order_acquire) != nullptr; }

const LibraryInfo& library_info() {
  const Loaded* loaded = g_loaded.load(std::memory_order_acquire);
  if (loaded == nullptr) throw Error(ErrorKind::kEngine, "libmxnet has not been loaded");
  return loaded->info;
}

const Api& api() {
  const Loaded* loaded = g_loaded.load(std::memory_order_acquire);
  if (loaded == nullptr) throw Error(ErrorKind::kEngine, "libmxnet has not been loaded");
  return loaded->api;
}

void install_api(const Api& table, const LibraryInfo& info) {
  ForeignCall::hold_at_forks();
  g_loaded.store(new Loaded{table, info}, std::memory_order_release);
}

void check(int status, const char* function) {
  if (status == 0) return;
  const char* message = api().MXGetLastError();
  throw Error(ErrorKind::kEngine,
              std::string(function) + " failed: " + (message != nullptr ? message : ""));
}

}  // namespace fastprop::mxnet
