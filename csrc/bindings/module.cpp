#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
  using namespace fastprop::bindings;
  module.doc() = "The compiled core of fastprop. Internal: use the classes of the package.";
  register_errors(module);
  register_machine(module);
  register_library(module);
  register_lease(module);
  register_engine(module);
  register_native_engine(module);
  register_pending(module);
  register_predictor(module);
}
