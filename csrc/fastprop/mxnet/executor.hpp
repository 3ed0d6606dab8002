// A bound graph: MXNet's executor with its outputs looked up once. Arguments are held by reference,
// so that executors share one set of parameters. Bind and run on the same worker thread.
#pragma once

#include <vector>

#include "fastprop/mxnet/ndarray.hpp"

namespace fastprop::mxnet {

struct ExecutorOutput {
  const float* data = nullptr;
  Shape shape;
};

class Executor {
 public:
  // `arguments` and `auxiliary` in the symbol's own order. Binding is not safe concurrently, of
  // other graphs neither: the caller serialises it.
  Executor(void* symbol, std::vector<void*> arguments, std::vector<void*> auxiliary);

  void forward();
  const std::vector<ExecutorOutput>& outputs() const noexcept { return outputs_; }

 private:
  OwnedExecutor executor_;
  std::vector<OwnedNDArray> arrays_;
  std::vector<ExecutorOutput> outputs_;
};

}  // namespace fastprop::mxnet
