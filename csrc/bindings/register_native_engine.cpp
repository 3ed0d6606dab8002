#include <map>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "fastprop/error.hpp"
#include "fastprop/predict/native_engine.hpp"
#include "gil.hpp"

namespace fastprop::bindings {

namespace {

// place, number, stride, first, width
using PyOperand = std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
// name, op, function, inputs, output, tensors (by what the step calls them), numbers
using PyStep = std::tuple<std::string, std::string, std::string, std::vector<PyOperand>, PyOperand,
                          std::map<std::string, std::string>, std::map<std::string, double>>;
using PyTensors = std::map<std::string, py::array>;

Operand parse_operand(const PyOperand& given) {
  static const std::map<std::string, Place> kPlaces = {{"rows", Place::kRows},
                                                       {"further", Place::kFurther},
                                                       {"slot", Place::kSlot},
                                                       {"scores", Place::kScores}};
  const auto& [place, number, stride, first, width] = given;
  const auto found = kPlaces.find(place);
  if (found == kPlaces.end()) {
    throw Error(ErrorKind::kModelFormat, "the plan names an unknown place, " + place);
  }
  return {found->second, number, stride, first, width};
}

Tensor parse_tensor(const std::string& name, const py::array& array) {
  if ((array.flags() & py::array::c_style) == 0) {
    throw Error(ErrorKind::kShape, "tensor " + name + " is not C-contiguous");
  }
  Tensor tensor;
  tensor.data = array.data();
  tensor.shape.assign(array.shape(), array.shape() + array.ndim());
  const py::dtype type = array.dtype();
  if (type.equal(py::dtype::of<float>())) {
    tensor.type = Tensor::Type::kFloat32;
  } else if (type.equal(py::dtype::of<std::uint16_t>())) {
    tensor.type = Tensor::Type::kBfloat16;
  } else if (type.equal(py::dtype::of<std::int32_t>())) {
    tensor.type = Tensor::Type::kInt32;
  } else if (type.equal(py::dtype::of<std::int8_t>())) {
    tensor.type = Tensor::Type::kInt8;
  } else {
    throw Error(ErrorKind::kDType, "tensor " + name + " is of type " + std::string(py::str(type)) +
                                       ", which no step computes with");
  }
  return tensor;
}

StepSpec parse_step(const PyStep& given, const PyTensors& tensors) {
  const auto& [name, op, function, inputs, output, names, numbers] = given;
  StepSpec spec;
  spec.name = name;
  spec.op = op;
  spec.function = function;
  for (const PyOperand& input : inputs) spec.inputs.push_back(parse_operand(input));
  spec.output = parse_operand(output);
  for (const auto& [role, tensor] : names) {
    const auto found = tensors.find(tensor);
    if (found == tensors.end()) {
      throw Error(ErrorKind::kModelFormat,
                  "step " + name + " (" + op + ") needs a tensor that is missing, " + tensor);
    }
    spec.tensors[role] = parse_tensor(tensor, found->second);
  }
  spec.numbers = numbers;
  return spec;
}

std::shared_ptr<NativeEngine> make_native_engine(
    bool sparse, std::int64_t n_columns,
    const std::vector<std::pair<std::string, std::int64_t>>& further,
    std::vector<std::int64_t> slots, const std::vector<PyStep>& steps, std::int64_t n_scores,
    const PyTensors& tensors, const std::string& isa) {
  release_kept();
  Plan plan;
  plan.rows = {sparse, n_columns};
  for (const auto& [name, width] : further) plan.further.push_back({name, width});
  plan.slots = std::move(slots);
  for (const PyStep& step : steps) plan.steps.push_back(parse_step(step, tensors));
  plan.n_scores = n_scores;
  const kernels::Isa chosen = parse_isa(isa);
  std::shared_ptr<const void> owner = keep_alive(py::cast(tensors));
  const ReleasedGil released;
  return NativeEngine::create(std::move(plan), chosen, std::move(owner));
}

kernels::WeightType weight_type(const py::dtype& type) {
  if (type.equal(py::dtype::of<float>())) return kernels::WeightType::kFloat32;
  if (type.equal(py::dtype::of<std::uint16_t>())) return kernels::WeightType::kBfloat16;
  if (type.equal(py::dtype::of<std::int8_t>())) return kernels::WeightType::kInt8;
  throw Error(ErrorKind::kDType, "no layer has panels of type " + std::string(py::str(type)));
}

py::tuple panels_shape(std::int64_t outputs, std::int64_t inputs, const py::dtype& type) {
  constexpr auto kColumns = static_cast<std::int64_t>(kernels::kPanelColumns);
  const std::int64_t panels = (outputs + kColumns - 1) / kColumns;
  switch (weight_type(type)) {
    case kernels::WeightType::kFloat32:
      break;
    case kernels::WeightType::kBfloat16:
      return py::make_tuple(panels, (inputs + 1) / 2, kColumns, 2);
    case kernels::WeightType::kInt8:
      return py::make_tuple(panels, 2 + (inputs + 3) / 4, kColumns, 4);
  }
  return py::make_tuple(panels, inputs, kColumns);
}

void pack_dense(const py::array& weight, py::array panels) {
  const DenseView view = parse_dense(weight, "a layer's weight");
  const kernels::WeightType type = weight_type(panels.dtype());
  const auto inputs = static_cast<std::size_t>(view.width);
  const auto outputs = static_cast<std::size_t>(view.n_rows);
  if ((panels.flags() & py::array::c_style) == 0 ||
      (type == kernels::WeightType::kInt8 && inputs > kernels::kMaxInt8Inputs) ||
      static_cast<std::size_t>(panels.nbytes()) !=
          kernels::packed_dense_bytes(type, inputs, outputs)) {
    throw Error(ErrorKind::kShape, "the panels do not fit the layer's weight");
  }
  void* target = panels.mutable_data();
  const ReleasedGil released;
  kernels::pack_dense(type, view.data, inputs, inputs, outputs, target);
}

}  // namespace

void register_native_engine(py::module_& module) {
  py::class_<NativeEngine, Engine, std::shared_ptr<NativeEngine>>(module, "NativeEngine")
      .def(py::init(&make_native_engine), py::kw_only(), py::arg("sparse"), py::arg("n_columns"),
           py::arg("further"), py::arg("slots"), py::arg("steps"), py::arg("n_scores"),
           py::arg("tensors"), py::arg("isa"));
  module.def("panels_shape", &panels_shape, py::arg("outputs"), py::arg("inputs"),
             py::arg("dtype"));
  module.attr("MAX_INT8_INPUTS") = kernels::kMaxInt8Inputs;
  module.def("pack_dense", &pack_dense, py::arg("weight"), py::arg("panels"));
}

}  // namespace fastprop::bindings
