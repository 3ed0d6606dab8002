#include "fastprop/predict/steps/sparse_step.hpp"

#include <cmath>
#include <map>

#include "fastprop/csr_copy.hpp"
#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"
#include "fastprop/sched/assist.hpp"

namespace fastprop {

namespace {

// A weight of this size is not in the shared cache as a whole.
constexpr std::size_t kLargeWeight = std::size_t{16} << 20;

// Weight rows of some microseconds.
constexpr std::size_t kWorthHelp = std::size_t{64} << 10;

kernels::CsrRows rows_after(kernels::CsrRows rows, std::int64_t n) {
  const std::size_t step = rows.indptr_type == IndexType::kInt64 ? 8 : 4;
  rows.indptr = static_cast<const char*>(rows.indptr) + size(n) * step;
  return rows;
}

std::size_t count_elements(const kernels::CsrRows& rows, std::int64_t n_rows) {
  const IndexArray indptr{rows.indptr, rows.indptr_type};
  return size(indptr[n_rows] - indptr[0]);
}

using Map = void (*)(float* values, std::int64_t n);

void square(float* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] *= values[i];
}

void absolute(float* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = std::fabs(values[i]);
}

void sign(float* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    values[i] = values[i] > 0 ? 1.0F : (values[i] < 0 ? -1.0F : values[i]);
  }
}

// A function of each element of the rows comes first, of sums of duplicates then.
class MappedSparseStep : public SparseStep {
 public:
  MappedSparseStep(const StepSpec& spec, const kernels::SparseLayer& layer, std::int64_t n_columns,
                   Map map)
      : SparseStep(spec, layer, n_columns), map_(map) {}

  bool gains_by_many_rows() const override { return false; }

  void run(const TileRun& run) const override {
    const auto& rows = std::get<CsrView>(run.tile.rows);
    const std::int64_t n_rows = run.n_rows();
    const std::int64_t first = run.tile.first;
    const std::int64_t n_entries = rows.indptr[first + n_rows] - rows.indptr[first];
    const std::size_t bytes = 8 * size(n_rows + 1) + 12 * size(n_entries);
    const Lease lease = run.pool.lease(bytes);
    auto* indptr = lease.as<std::int64_t>();
    std::int64_t* indices = indptr + n_rows + 1;
    auto* values = reinterpret_cast<float*>(indices + n_entries);
    map_(values, copy_rows(rows, first, n_rows, true, indptr, indices, values));
    run.counters.bytes_copied.fetch_add(bytes, std::memory_order_relaxed);
    run_layer(run,
              {indptr, indices, values, IndexType::kInt64, IndexType::kInt64, ValueType::kFloat32});
  }

 private:
  Map map_;
};

Map find_map(const StepSpec& spec) {
  static const std::map<std::string, Map> kMaps = {{"sparse", nullptr},
                                                   {"sparse_square", square},
                                                   {"sparse_abs", absolute},
                                                   {"sparse_sign", sign}};
  return kMaps.at(spec.op);
}

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

void SparseStep::run(const TileRun& run) const {
  run_layer(run, rows_from(std::get<CsrView>(run.tile.rows), run.tile.first));
}

std::size_t SparseStep::weight_row_bytes() const {
  return layer_.weight_stride * (layer_.weight_type == kernels::WeightType::kFloat32 ? 4 : 2);
}

// Half of the rows, or half of the columns of a single one.
void SparseStep::run_in_halves(const TileRun& run, const kernels::CsrRows& rows,
                               const Matrix& out) const {
  const std::int64_t n_rows = run.n_rows();
  if (n_rows > 1) {
    Assist::run([&](int half) {
      const std::int64_t begin = half == 0 ? 0 : n_rows / 2;
      const std::int64_t end = half == 0 ? n_rows / 2 : n_rows;
      run.kernels.sparse_layer(layer_, rows_after(rows, begin), size(end - begin), out.row(begin),
                               size(out.stride));
    });
    return;
  }
  const std::size_t middle = (layer_.width / 2 + 15) / 16 * 16;
  Assist::run([&](int half) {
    const std::size_t begin = half == 0 ? 0 : middle;
    kernels::SparseLayer part = layer_;
    part.width = half == 0 ? middle : layer_.width - middle;
    part.weight = static_cast<const char*>(layer_.weight) +
                  begin * (weight_row_bytes() / layer_.weight_stride);
    if (part.bias != nullptr) part.bias += begin;
    if (part.activation.slopes != nullptr) part.activation.slopes += begin;
    run.kernels.sparse_layer(part, rows, 1, out.data + begin, size(out.stride));
  });
}

void SparseStep::run_layer(const TileRun& run, const kernels::CsrRows& rows) const {
  const Matrix out = run.write(output_);
  if (run.tile.may_be_helped && layer_.width >= 32 &&
      count_elements(rows, run.n_rows()) * weight_row_bytes() >= kWorthHelp) {
    run_in_halves(run, rows, out);
    return;
  }
  run.kernels.sparse_layer(layer_, rows, size(run.n_rows()), out.data, size(out.stride));
}

bool SparseStep::gains_by_many_rows() const {
  return size(n_columns_) * weight_row_bytes() >= kLargeWeight;
}

void SparseStep::run_many(const kernels::Kernels& kernels, const CsrView& rows, std::int64_t first,
                          std::int64_t n_rows, BufferPool& pool, float* out) const {
  const Lease positions = pool.lease(size(n_rows) * sizeof(std::uint64_t));
  kernels.sparse_layer_by_ranges(layer_, rows_from(rows, first), size(n_rows), size(n_columns_),
                                 positions.as<std::uint64_t>(), out, layer_.width);
}

std::unique_ptr<Step> make_sparse_step(const StepSpec& spec, const Plan& plan) {
  require_inputs(spec, 1);
  require(spec, spec.inputs[0].place == Place::kRows && plan.rows.sparse,
          "reads something that is not the sparse rows");
  const Tensor& weight = tensor(spec, "weight");
  require(spec,
          weight.shape.size() == 2 && weight.shape[1] == spec.output.width &&
              (weight.type == Tensor::Type::kFloat32 || weight.type == Tensor::Type::kBfloat16),
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
  const Map map = find_map(spec);
  const std::int64_t n_columns = plan.rows.n_columns;
  if (map != nullptr) return std::make_unique<MappedSparseStep>(spec, layer, n_columns, map);
  return std::make_unique<SparseStep>(spec, layer, n_columns);
}

}  // namespace fastprop
