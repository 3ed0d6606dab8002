#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

namespace {

class SparseStep : public Step {
 public:
  SparseStep(const StepSpec& spec, const kernels::SparseLayer& layer)
      : layer_(layer), output_(spec.output) {}

  void run(const TileRun& run) const override {
    const Matrix out = run.write(output_);
    run.kernels.sparse_layer(layer_, rows_from(std::get<CsrView>(run.tile.rows), run.tile.first),
                             size(run.n_rows()), out.data, size(out.stride));
  }

  bool is_sparse() const override { return true; }

 private:
  kernels::SparseLayer layer_;
  Operand output_;
};

// Where each column's row is stored; what has no row is zero.
void set_row_of_column(const StepSpec& spec, const Tensor& weight, std::int64_t n_columns,
                       kernels::SparseLayer& layer) {
  const Tensor* map = find_tensor(spec, "row_of_column");
  if (map == nullptr) {
    require(spec, weight.shape[0] == n_columns, "has a weight without a row for each column");
    return;
  }
  require(spec, map->type == Tensor::Type::kInt32 && map->size() == n_columns,
          "has a row_of_column without an int32 element for each column");
  const auto* rows = static_cast<const std::int32_t*>(map->data);
  for (std::int64_t i = 0; i < n_columns; ++i) {
    require(spec, rows[i] < weight.shape[0], "has a row_of_column that leads past the weight");
  }
  layer.row_of_column = rows;
}

}  // namespace

std::unique_ptr<Step> make_sparse_step(const StepSpec& spec, const Plan& plan) {
  require_inputs(spec, 1);
  require(spec, spec.inputs[0].place == Place::kRows && plan.rows.sparse,
          "reads something that is not the sparse rows");
  const Tensor& weight = tensor(spec, "weight");
  require(spec,
          weight.shape.size() == 2 && weight.shape[1] == spec.output.width &&
              weight.type != Tensor::Type::kInt32,
          "has a weight that does not fit its output");
  kernels::SparseLayer layer;
  layer.weight = weight.data;
  layer.weight_type = weight.type == Tensor::Type::kBfloat16 ? kernels::WeightType::kBfloat16
                                                             : kernels::WeightType::kFloat32;
  layer.width = size(spec.output.width);
  layer.weight_stride = layer.width;
  set_row_of_column(spec, weight, plan.rows.n_columns, layer);
  layer.bias = floats_or_null(spec, "bias", spec.output.width);
  layer.activation = activation(spec, spec.output.width);
  return std::make_unique<SparseStep>(spec, layer);
}

}  // namespace fastprop
