#include "fastprop/mxnet/executor.hpp"

#include <string>

#include "fastprop/error.hpp"

namespace fastprop::mxnet {

Executor::Executor(void* symbol, std::vector<void*> arguments, std::vector<void*> auxiliary) {
  constexpr int kCpu = 1;
  std::vector<void*> gradients(arguments.size(), nullptr);
  std::vector<std::uint32_t> no_gradient(arguments.size(), 0);
  void* handle = nullptr;
  FASTPROP_MXNET(MXExecutorBindEX, symbol, kCpu, 0, 0, nullptr, nullptr, nullptr,
                 static_cast<std::uint32_t>(arguments.size()), arguments.data(), gradients.data(),
                 no_gradient.data(), static_cast<std::uint32_t>(auxiliary.size()), auxiliary.data(),
                 nullptr, &handle);
  executor_ = OwnedExecutor(handle);

  std::uint32_t n_outputs = 0;
  void** outputs = nullptr;
  FASTPROP_MXNET(MXExecutorOutputs, handle, &n_outputs, &outputs);
  // MXNet hands over new handles in an array of its own: own them all before anything can throw.
  for (std::uint32_t i = 0; i < n_outputs; ++i) arrays_.emplace_back(outputs[i]);
  for (const OwnedNDArray& array : arrays_) {
    if (dtype_of(array.get()) != DType::kFloat32) {
      throw Error(ErrorKind::kEngine, "head " + std::to_string(outputs_.size()) +
                                          " of the graph is not float32 (MXNet type flag " +
                                          std::to_string(static_cast<int>(dtype_of(array.get()))) +
                                          ")");
    }
    outputs_.push_back({static_cast<const float*>(data_of(array)), shape_of(array.get())});
  }
}

void Executor::forward() {
  FASTPROP_MXNET(MXExecutorForward, executor_.get(), 0);
  if (!library_info().naive_engine) {
    for (const OwnedNDArray& array : arrays_) FASTPROP_MXNET(MXNDArrayWaitToRead, array.get());
  }
}

}  // namespace fastprop::mxnet
