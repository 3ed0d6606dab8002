#include "bindings.hpp"
#include "fastprop/memory/buffer_pool.hpp"

namespace fastprop::bindings {

// A lease outlives every view of it: views made through the buffer protocol hold the object.
void register_lease(py::module_& module) {
  py::class_<Lease>(module, "Lease", py::buffer_protocol())
      .def_property_readonly("nbytes", &Lease::capacity)
      .def_buffer([](Lease& lease) {
        return py::buffer_info(lease.data(), 1, py::format_descriptor<std::uint8_t>::format(), 1,
                               {static_cast<py::ssize_t>(lease.capacity())}, {1}, false);
      });
}

}  // namespace fastprop::bindings
