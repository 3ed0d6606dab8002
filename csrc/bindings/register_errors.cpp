#include "bindings.hpp"
#include "fastprop/error.hpp"

namespace fastprop::bindings {

namespace {

const char* class_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidInput:
      return "InvalidInputError";
    case ErrorKind::kShape:
      return "ShapeError";
    case ErrorKind::kDType:
      return "DTypeError";
    case ErrorKind::kModelFormat:
      return "ModelFormatError";
    case ErrorKind::kEngine:
      return "EngineError";
    case ErrorKind::kClosed:
      return "PredictorClosedError";
    case ErrorKind::kPoolLimit:
      return "PoolLimitError";
  }
  return "FastpropError";
}

}  // namespace

void register_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Error& caught) {
      const py::object type = py::module_::import("fastprop.errors").attr(class_of(caught.kind()));
      PyErr_SetString(type.ptr(), caught.what());
    }
  });
}

}  // namespace fastprop::bindings
