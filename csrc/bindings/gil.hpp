// Releasing the GIL around what may take long. Unlike with pybind11's guard, a thread that asks for
// it back from an interpreter that has ended waits for the end of the process: up to Python 3.13
// the interpreter ends such threads by unwinding their stacks, which no C++ frame between here and
// Python is made for (pybind11's catch everything). Python 3.14 itself lets them wait.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace fastprop::bindings {

class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // nothing else comes out of it
      for (;;) pause();
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace fastprop::bindings
