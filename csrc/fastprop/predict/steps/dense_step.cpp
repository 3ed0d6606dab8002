#include "fastprop/predict/steps/dense_step.hpp"

#include <algorithm>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"
#include "fastprop/sched/assist.hpp"

namespace fastprop {

namespace {

// Weights of some microseconds.
constexpr std::size_t kWorthHelp = 64 * 1024;

// Fewer rows or columns are multiplied sooner than looked at twice, and of fewer columns for each
// that is wanted too many are left.
constexpr std::int64_t kScreenedRows = 16;
constexpr std::size_t kScreenedColumns = 512;
constexpr std::size_t kScreenedColumnsEach = 16;
constexpr std::size_t kScreenedK = 64;

kernels::WeightType weight_type(Tensor::Type type) {
  switch (type) {
    case Tensor::Type::kBfloat16:
      return kernels::WeightType::kBfloat16;
    case Tensor::Type::kInt8:
      return kernels::WeightType::kInt8;
    case Tensor::Type::kFloat32:
    case Tensor::Type::kInt32:
      break;
  }
  return kernels::WeightType::kFloat32;
}

}  // namespace

DenseStep::DenseStep(const StepSpec& spec, const kernels::DenseLayer& layer, std::int64_t repeat)
    : layer_(layer), repeat_(repeat), input_(spec.inputs[0]), output_(spec.output) {}

DenseStep::~DenseStep() { delete screen_.load(std::memory_order_acquire); }

const kernels::DenseScreen* DenseStep::screen(const TileRun& run,
                                              const kernels::TopKRule& rule) const {
  if (!kernels::uses_screens(run.kernels.isa) || run.n_rows() < kScreenedRows ||
      layer_.weight_type != kernels::WeightType::kFloat32 || rule.thresholds != nullptr ||
      rule.k > kScreenedK || layer_.outputs < kScreenedColumns ||
      layer_.outputs / rule.k < kScreenedColumnsEach) {
    return nullptr;
  }
  const DenseScreen* made = screen_.load(std::memory_order_acquire);
  if (made == nullptr) {
    const std::lock_guard<ForkSafeMutex> lock(making_screen_);
    made = screen_.load(std::memory_order_acquire);
    if (made == nullptr) {
      made = new DenseScreen(layer_);
      screen_.store(made, std::memory_order_release);
    }
  }
  return &made->get();
}

template <class Columns>
void DenseStep::in_halves(const Columns& columns) const {
  constexpr std::size_t kPanel = kernels::kPanelColumns;
  const std::size_t middle =
      std::min((layer_.outputs / 2 + kPanel - 1) / kPanel * kPanel, layer_.outputs);
  Assist::run(
      [&](int half) { columns(half == 0 ? 0 : middle, half == 0 ? middle : layer_.outputs); });
}

void DenseStep::run(const TileRun& run) const {
  Lease quantized;
  const ConstMatrix in = prepared_input(run, quantized);
  const Matrix out = run.write(output_);
  // The parts of compact rows are rows themselves.
  const auto columns = [&](std::size_t begin, std::size_t end) {
    run.kernels.dense(layer_, in.data, size(in.stride / repeat_), size(run.n_rows() * repeat_),
                      {out.data, size(out.stride / repeat_), begin, end,
                       writes_scores_last_ && run.streams_scores});
  };
  if (!is_worth_help(run)) {
    columns(0, layer_.outputs);
    return;
  }
  in_halves(columns);
}

ConstMatrix DenseStep::prepared_input(const TileRun& run, Lease& lease) const {
  const ConstMatrix in = run.read(input_);
  if (layer_.weight_type != kernels::WeightType::kInt8) return in;
  const std::size_t n_rows = size(run.n_rows() * repeat_);
  const std::size_t words = run.kernels.quantized_words(layer_.inputs);
  lease = run.pool.lease(n_rows * words * sizeof(float));
  run.kernels.quantize(in.data, size(in.stride / repeat_), n_rows, layer_.inputs,
                       lease.as<float>());
  return {lease.as<float>(), static_cast<std::int64_t>(words) * repeat_};
}

bool DenseStep::is_worth_help(const TileRun& run) const {
  return run.tile.may_be_helped && layer_.inputs * layer_.outputs >= kWorthHelp;
}

bool DenseStep::can_select() const {
  const auto kind = layer_.activation.kind;
  return repeat_ == 1 &&
         (kind == kernels::ActivationKind::kSigmoid || kind == kernels::ActivationKind::kIdentity);
}

void DenseStep::select(const TileRun& run, const TopKOutput& output,
                       kernels::TopKState* states) const {
  const std::size_t n_rows = size(run.n_rows());
  const std::size_t k = output.rule.k;
  const std::size_t keys = kernels::top_k_keys(k);
  const Lease lease = run.pool.lease(n_rows * keys * sizeof(std::uint64_t));
  kernels::DenseLayer layer = layer_;
  kernels::TopKRule rule = output.rule;
  rule.transform = layer.activation.kind;
  layer.activation = {};
  layer.screen = screen(run, rule);
  for (std::size_t i = 0; i < n_rows; ++i) {
    states[i].keys = lease.as<std::uint64_t>() + i * keys;
    run.kernels.top_k_begin(rule, states[i]);
  }
  Lease quantized;
  const ConstMatrix in = prepared_input(run, quantized);
  const bool is_helped = is_worth_help(run);
  const auto rows = [&](std::size_t begin, std::size_t end) {
    run.kernels.dense_top_k(layer, in.data + begin * size(in.stride), size(in.stride), end - begin,
                            0, layer.outputs, rule, states + begin);
  };
  if (n_rows > 1 && is_helped) {
    const std::size_t middle = n_rows / 2;
    Assist::run([&](int half) { rows(half == 0 ? 0 : middle, half == 0 ? middle : n_rows); });
  } else if (n_rows == 1 && is_helped) {
    // A selection is one thread's: what is shared is the product before it.
    const Lease row = run.pool.lease(layer.outputs * sizeof(float));
    in_halves([&](std::size_t begin, std::size_t end) {
      run.kernels.dense(layer, in.data, size(in.stride), 1,
                        {row.as<float>(), layer.outputs, begin, end, false});
    });
    run.kernels.top_k_update(rule, row.as<float>(), layer.outputs, 0, states[0]);
  } else {
    rows(0, n_rows);
  }
  for (std::size_t i = 0; i < n_rows; ++i) {
    const std::size_t at = (size(run.tile.first) + i) * k;
    run.kernels.top_k_finish(rule, states[i], output.scores + at, output.indices + at);
  }
}

std::unique_ptr<Step> make_dense_step(const StepSpec& spec, const Plan& /*plan*/) {
  require_inputs(spec, 1);
  require_apart(spec);
  const std::int64_t repeat = count(spec, "repeat", 1);
  const Operand& input = spec.inputs[0];
  require(spec,
          repeat == 1 || (input.is_compact() && spec.output.is_compact() &&
                          input.width % repeat == 0 && spec.output.width % repeat == 0),
          "is repeated over rows that are not compact");
  kernels::DenseLayer layer;
  layer.inputs = size(input.width / repeat);
  layer.outputs = size(spec.output.width / repeat);
  const Tensor& panels = tensor(spec, "panels");
  require(spec, panels.type != Tensor::Type::kInt32, "has panels of integers of 32 bits");
  layer.weight_type = weight_type(panels.type);
  require(
      spec,
      layer.weight_type != kernels::WeightType::kInt8 || layer.inputs <= kernels::kMaxInt8Inputs,
      "has more inputs than weights of 8 bits may have");
  require(spec,
          panels.n_bytes() ==
              kernels::packed_dense_bytes(layer.weight_type, layer.inputs, layer.outputs),
          "has panels that do not fit its input and output");
  layer.panels = panels.data;
  layer.bias = floats_or_null(spec, "bias", static_cast<std::int64_t>(layer.outputs));
  layer.activation = activation(spec, static_cast<std::int64_t>(layer.outputs));
  return std::make_unique<DenseStep>(spec, layer, repeat);
}

}  // namespace fastprop
