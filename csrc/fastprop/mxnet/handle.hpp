// Move-only ownership of MXNet's handles. Freeing touches MXNet, so an owner must end on a worker
// thread (sched/worker_pool.hpp). A failed free is ignored: a destructor has nobody to tell.
#pragma once

#include <utility>

#include "fastprop/mxnet/api.hpp"

namespace fastprop::mxnet {

template <int (*Api::*Free)(void*)>
class Owned {
 public:
  Owned() noexcept = default;
  explicit Owned(void* handle) noexcept : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(other.release()) {}
  Owned& operator=(Owned&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = other.release();
    }
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { reset(); }

  void* get() const noexcept { return handle_; }
  void* release() noexcept { return std::exchange(handle_, nullptr); }
  explicit operator bool() const noexcept { return handle_ != nullptr; }
  void reset() noexcept {
    if (handle_ == nullptr) return;
    const ForeignCall call;
    (api().*Free)(std::exchange(handle_, nullptr));
  }

 private:
  void* handle_ = nullptr;
};

using OwnedNDArray = Owned<&Api::MXNDArrayFree>;
using OwnedSymbol = Owned<&Api::MXSymbolFree>;
using OwnedExecutor = Owned<&Api::MXExecutorFree>;

}  // namespace fastprop::mxnet
