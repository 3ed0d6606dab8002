#include "bindings.hpp"

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "fastprop/error.hpp"
#include "fastprop/predict/mxnet_engine.hpp"
#include "fastprop/predict/steps/check_step.hpp"
#include "gil.hpp"

namespace fastprop::bindings {

namespace {

using Shape = std::vector<std::int64_t>;
using PyParameter = std::tuple<std::string, std::string, py::array>;
// n_features, weight, row_of_column, bias, activation, alpha
using PySparseLayer = std::tuple<std::int64_t, py::array, std::optional<py::array>,
                                 std::optional<py::array>, std::string, float>;
using PyInput = std::tuple<std::string, bool, Shape>;

mxnet::DType parse_dtype(const py::array& array, const std::string& name) {
  static const std::map<std::pair<char, py::ssize_t>, mxnet::DType> kTypes = {
      {{'f', 2}, mxnet::DType::kFloat16}, {{'f', 4}, mxnet::DType::kFloat32},
      {{'f', 8}, mxnet::DType::kFloat64}, {{'u', 1}, mxnet::DType::kUint8},
      {{'i', 1}, mxnet::DType::kInt8},    {{'i', 4}, mxnet::DType::kInt32},
      {{'i', 8}, mxnet::DType::kInt64}};
  const auto found = kTypes.find({array.dtype().kind(), array.dtype().itemsize()});
  if (found == kTypes.end()) {
    throw Error(ErrorKind::kDType, "parameter " + name + " is of type " +
                                       std::string(py::str(array.dtype())) +
                                       ", which MXNet cannot compute with");
  }
  return found->second;
}

MxnetParameter::Mode parse_mode(const std::string& mode) {
  if (mode == "copy") return MxnetParameter::Mode::kCopy;
  if (mode == "borrow") return MxnetParameter::Mode::kBorrow;
  if (mode == "row_sparse") return MxnetParameter::Mode::kFullRowSparse;
  throw Error(ErrorKind::kInvalidInput, "there is no parameter mode \"" + mode + "\"");
}

std::vector<MxnetParameter> parse_parameters(const std::vector<PyParameter>& parameters) {
  std::vector<MxnetParameter> parsed;
  for (const auto& [name, mode, array] : parameters) {
    if ((array.flags() & py::array::c_style) == 0) {
      throw Error(ErrorKind::kShape, "parameter " + name + " is not C-contiguous");
    }
    parsed.push_back({name, parse_mode(mode), parse_dtype(array, name),
                      Shape(array.shape(), array.shape() + array.ndim()), array.data()});
  }
  return parsed;
}

std::vector<MxnetInput> parse_inputs(const std::vector<PyInput>& inputs) {
  std::vector<MxnetInput> parsed;
  for (const auto& [name, sparse, shape] : inputs) parsed.push_back({name, sparse, shape});
  return parsed;
}

kernels::SparseLayer parse_sparse_layer(const PySparseLayer& given) {
  const auto& [n_features, weight, row_of_column, bias, activation, alpha] = given;
  kernels::SparseLayer layer;
  const bool narrow = weight.dtype().equal(py::dtype::of<std::uint16_t>());
  if (weight.ndim() != 2 || (weight.flags() & py::array::c_style) == 0 ||
      (!narrow && !weight.dtype().equal(py::dtype::of<float>()))) {
    throw Error(ErrorKind::kDType, "the sparse layer's weight is no float32 or bfloat16 matrix");
  }
  layer.weight = weight.data();
  layer.weight_type = narrow ? kernels::WeightType::kBfloat16 : kernels::WeightType::kFloat32;
  layer.width = static_cast<std::size_t>(weight.shape(1));
  layer.weight_stride = layer.width;
  if (row_of_column) {
    const IndexArray map = parse_indices(*row_of_column, "row_of_column");
    if (row_of_column->size() != n_features) {
      throw Error(ErrorKind::kShape, "row_of_column does not have an element a feature");
    }
    for (std::int64_t i = 0; i < n_features; ++i) {
      if (map[i] >= weight.shape(0)) {
        throw Error(ErrorKind::kShape, "row_of_column leads past the weight");
      }
    }
    layer.row_of_column = map.data;
    layer.row_of_column_type = map.type;
  } else if (weight.shape(0) != n_features) {
    throw Error(ErrorKind::kShape, "the sparse layer's weight does not have a row a feature");
  }
  if (bias) {
    layer.bias = parse_floats(*bias, "bias");
    if (bias->size() != weight.shape(1)) {
      throw Error(ErrorKind::kShape, "the sparse layer's bias does not have an element a column");
    }
  }
  if (!fastprop::parse_activation(activation, layer.activation.kind)) {
    throw Error(ErrorKind::kInvalidInput, "there is no activation \"" + activation + "\"");
  }
  layer.activation.alpha = alpha;
  return layer;
}

std::shared_ptr<MxnetEngine> make_mxnet_engine(
    std::string symbol_json, const std::vector<PyParameter>& arguments,
    const std::vector<PyParameter>& auxiliary, const std::vector<PyInput>& inputs,
    const std::vector<PyInput>& zero_inputs, std::vector<std::int64_t> head_widths,
    const std::vector<std::pair<std::int64_t, std::int64_t>>& columns, bool canonical_rows,
    const std::optional<PySparseLayer>& sparse_layer, const std::string& isa, py::object owner) {
  release_kept();
  MxnetSpec spec;
  spec.symbol_json = std::move(symbol_json);
  spec.arguments = parse_parameters(arguments);
  spec.auxiliary = parse_parameters(auxiliary);
  spec.inputs = parse_inputs(inputs);
  spec.zero_inputs = parse_inputs(zero_inputs);
  spec.head_widths = std::move(head_widths);
  for (const auto& [head, column] : columns) spec.columns.push_back({head, column});
  spec.canonical_rows = canonical_rows;
  if (sparse_layer) {
    spec.sparse_layer = parse_sparse_layer(*sparse_layer);
    spec.n_features = std::get<0>(*sparse_layer);
  }
  spec.isa = parse_isa(isa);
  spec.owner = keep_alive(std::move(owner));
  const ReleasedGil released;
  return MxnetEngine::create(std::move(spec));
}

}  // namespace

void register_engine(py::module_& module) {
  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine")
      .def_property_readonly("n_scores", &Engine::n_scores)
      .def_property_readonly("n_columns",
                             [](const Engine& engine) { return engine.rows().n_columns; })
      .def_property_readonly("sparse", [](const Engine& engine) { return engine.rows().sparse; });
  py::class_<MxnetEngine, Engine, std::shared_ptr<MxnetEngine>>(module, "MxnetEngine")
      .def(py::init(&make_mxnet_engine), py::kw_only(), py::arg("symbol_json"),
           py::arg("arguments"), py::arg("auxiliary"), py::arg("inputs"), py::arg("zero_inputs"),
           py::arg("head_widths"), py::arg("columns"), py::arg("canonical_rows"),
           py::arg("sparse_layer"), py::arg("isa"), py::arg("owner"))
      .def(
          "head_shapes",
          [](MxnetEngine& engine, std::int64_t batch) {
            const ReleasedGil released;
            return engine.head_shapes(batch);
          },
          py::arg("batch"));
}

}  // namespace fastprop::bindings
