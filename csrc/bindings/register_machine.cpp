#include "bindings.hpp"
#include "fastprop/error.hpp"
#include "fastprop/sched/cpu_count.hpp"
#include "fastprop/sched/fork.hpp"
#include "fastprop/sched/worker_pool.hpp"
#include "gil.hpp"

namespace fastprop::bindings {

kernels::Isa parse_isa(const std::string& name) {
  if (name == "best") return kernels::best_isa();
  kernels::Isa isa{};
  if (!kernels::parse_isa(name.c_str(), isa)) {
    throw Error(ErrorKind::kInvalidInput, "there is no instruction set \"" + name + "\"");
  }
  if (!kernels::is_supported(isa)) {
    throw Error(ErrorKind::kInvalidInput, "this processor does not have " + name);
  }
  return isa;
}

void register_machine(py::module_& module) {
  module.def("cpu_count", &cpu_count,
             "Processors this process may use: affinity mask and cgroup CPU quota.");
  module.def("cpu_count_under", &cpu_count_under, py::arg("root"), py::arg("affinity"),
             "The same for a file tree and a known affinity count.");
  // Before the interpreter takes its modules apart, and long before libraries end.
  py::module_::import("atexit").attr("register")(py::cpp_function([] {
    release_kept();
    const ReleasedGil released;
    WorkerPool::leave();
  }));
  module.def("fork_generation", &fork_generation,
             "Number of forks between the first process that used this module and this one.");
  module.def("worker_count", [] { return WorkerPool::instance().size(); });
  module.def(
      "instruction_sets",
      [] {
        std::vector<std::string> names;
        for (const auto isa : {kernels::Isa::kScalar, kernels::Isa::kAvx2, kernels::Isa::kAvx512,
                               kernels::Isa::kAvx512Vnni, kernels::Isa::kAmx}) {
          if (kernels::is_supported(isa)) names.emplace_back(kernels::isa_name(isa));
        }
        return names;
      },
      "Names of the instruction sets that kernels can be had for, the best last.");
  module.def(
      "round_to_bf16",
      [](const py::array& source, py::array_t<std::uint16_t>& target) {
        if (!source.dtype().equal(py::dtype::of<float>()) || source.size() != target.size() ||
            (source.flags() & target.flags() & py::array::c_style) == 0) {
          throw Error(ErrorKind::kShape, "round_to_bf16 takes compact arrays of one size");
        }
        kernels::round_to_bf16(static_cast<const float*>(source.data()),
                               static_cast<std::size_t>(source.size()), target.mutable_data());
      },
      py::arg("source"), py::arg("target").noconvert(), "To the nearest bfloat16, ties to even.");
}

}  // namespace fastprop::bindings
