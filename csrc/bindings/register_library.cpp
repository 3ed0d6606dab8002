#include "bindings.hpp"
#include "fastprop/mxnet/api.hpp"
#include "fastprop/mxnet/csr_aux.hpp"
#include "gil.hpp"

namespace fastprop::bindings {

void register_library(py::module_& module) {
  py::class_<mxnet::LibraryInfo>(module, "LibraryInfo")
      .def_readonly("path", &mxnet::LibraryInfo::path)
      .def_readonly("version", &mxnet::LibraryInfo::version)
      .def_readonly("naive_engine", &mxnet::LibraryInfo::naive_engine);
  module.def(
      "load_library",
      [](const std::string& path) {
        const ReleasedGil released;
        return mxnet::load_library(path);
      },
      py::arg("path"));
  module.def("library_loaded", &mxnet::library_loaded);
  module.def("library_info", &mxnet::library_info);
  module.def("set_csr_aux_enabled", &mxnet::set_csr_aux_enabled, py::arg("enabled"));
}

}  // namespace fastprop::bindings
