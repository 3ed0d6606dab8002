#include "bindings.hpp"

#include <mutex>
#include <vector>

#include "fastprop/error.hpp"
#include "fastprop/sched/fork.hpp"

namespace fastprop::bindings {

namespace {

[[noreturn]] void refuse(ErrorKind kind, const char* name, const std::string& what) {
  throw Error(kind, std::string(name) + " " + what);
}

void require_contiguous(const py::array& array, const char* name, py::ssize_t ndim) {
  if (array.ndim() != ndim) {
    refuse(ErrorKind::kShape, name,
           "has " + std::to_string(array.ndim()) + " dimensions, and " + std::to_string(ndim) +
               " are needed");
  }
  if ((array.flags() & py::array::c_style) == 0) {
    refuse(ErrorKind::kShape, name, "is not C-contiguous");
  }
}

bool is_native(const py::array& array, char kind, py::ssize_t size) {
  const py::dtype type = array.dtype();
  const char order = type.byteorder();
  return type.kind() == kind && type.itemsize() == size && order != '>';
}

[[noreturn]] void refuse_type(const py::array& array, const char* name, const char* needed) {
  refuse(ErrorKind::kDType, name,
         "is of type " + std::string(py::str(array.dtype())) + ", and " + needed + " is needed");
}

// References to give back, by whoever next holds the GIL. A worker never asks for the GIL itself: a
// thread that does so while the interpreter ends is killed on the spot.
class Releases {
 public:
  static Releases& instance() {
    static auto* releases = new PerProcess<Releases>;
    return releases->get();
  }

  void add(PyObject* object) {
    {
      const std::lock_guard lock(mutex_);
      objects_.push_back(object);
    }
    // The interpreter's list of pending calls is short; when it is full, a later drain serves.
    (void)Py_AddPendingCall(
        [](void*) {
          instance().drain();
          return 0;
        },
        nullptr);
  }

  void drain() {
    std::vector<PyObject*> objects;
    {
      const std::lock_guard lock(mutex_);
      objects.swap(objects_);
    }
    for (PyObject* object : objects) Py_DECREF(object);
  }

 private:
  std::mutex mutex_;
  std::vector<PyObject*> objects_;
};

}  // namespace

std::shared_ptr<const void> keep_alive(py::object object) {
  return std::shared_ptr<const void>(object.release().ptr(), [](const void* held) {
    Releases::instance().add(static_cast<PyObject*>(const_cast<void*>(held)));
  });
}

void release_kept() { Releases::instance().drain(); }

IndexArray parse_indices(const py::array& array, const char* name) {
  require_contiguous(array, name, 1);
  if (is_native(array, 'i', 8)) return {array.data(), IndexType::kInt64};
  if (is_native(array, 'i', 4)) return {array.data(), IndexType::kInt32};
  refuse_type(array, name, "int32 or int64");
}

ValueArray parse_values(const py::array& array, const char* name) {
  require_contiguous(array, name, 1);
  if (is_native(array, 'f', 4)) return {array.data(), ValueType::kFloat32};
  if (is_native(array, 'f', 8)) return {array.data(), ValueType::kFloat64};
  refuse_type(array, name, "float32 or float64");
}

DenseView parse_dense(const py::array& array, const char* name) {
  require_contiguous(array, name, 2);
  if (!is_native(array, 'f', 4)) refuse_type(array, name, "float32");
  return {static_cast<const float*>(array.data()), array.shape(0), array.shape(1), array.shape(1)};
}

const float* parse_floats(const py::array& array, const char* name) {
  require_contiguous(array, name, 1);
  if (!is_native(array, 'f', 4)) refuse_type(array, name, "float32");
  return static_cast<const float*>(array.data());
}

}  // namespace fastprop::bindings
