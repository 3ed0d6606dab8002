// What the files of the binding share: one register function a class, and how arrays are parsed.
// A binding method parses, calls, and wraps. The GIL is released where a call waits (gil.hpp);
// what only hands work over keeps it, because no worker ever needs it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "fastprop/kernels/kernels.hpp"
#include "fastprop/views.hpp"

namespace fastprop::bindings {

namespace py = pybind11;

void register_errors(py::module_& module);
void register_machine(py::module_& module);
void register_library(py::module_& module);
void register_lease(py::module_& module);
void register_engine(py::module_& module);
void register_native_engine(py::module_& module);
void register_pending(py::module_& module);
void register_predictor(py::module_& module);

// Keeps Python objects alive for C++ code that may let go of them on any thread.
std::shared_ptr<const void> keep_alive(py::object object);
// Gives back the references that have ended since. Call with the GIL held.
void release_kept();

// C-contiguous arrays of the types that the core reads; DTypeError or ShapeError otherwise.
IndexArray parse_indices(const py::array& array, const char* name);
ValueArray parse_values(const py::array& array, const char* name);
DenseView parse_dense(const py::array& array, const char* name);
const float* parse_floats(const py::array& array, const char* name);

kernels::Isa parse_isa(const std::string& name);

}  // namespace fastprop::bindings
