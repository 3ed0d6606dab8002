// Releasing the GIL around what may take long. Unlike pybind11's guard it may be unwound while it
// takes the GIL back: an interpreter that ends kills daemon threads there, and up to Python 3.13 it
// does so by unwinding their stacks.
#pragma once

#include <Python.h>

namespace fastprop::bindings {

class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() noexcept(false) { PyEval_RestoreThread(state_); }

 private:
  PyThreadState* state_;
};

}  // namespace fastprop::bindings
