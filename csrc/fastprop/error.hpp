// Errors of the core. Each kind has a Python class; the binding translates. Thrown by value, on any
// thread; no exception leaves a worker (see sched/job.hpp) and no destructor throws.
#pragma once

#include <stdexcept>
#include <string>

namespace fastprop {

enum class ErrorKind {
  kInvalidInput,
  kShape,
  kDType,
  kModelFormat,
  kEngine,
  kClosed,
  kPoolLimit,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace fastprop
