#include "fastprop/predict/steps/check_step.hpp"

#include <cmath>

#include "fastprop/error.hpp"

namespace fastprop {

namespace {

constexpr std::int64_t kWidest = std::int64_t{1} << 31;

std::int64_t width_of_place(const StepSpec& spec, const Operand& operand, const Plan& plan) {
  const auto at = [&](const auto& places) {
    require(spec, operand.number >= 0 && size(operand.number) < places.size(),
            "names a place that the plan does not have");
    return places[size(operand.number)];
  };
  switch (operand.place) {
    case Place::kRows:
      return plan.rows.n_columns;
    case Place::kFurther:
      return at(plan.further).width;
    case Place::kSlot:
      require(spec, operand.stride >= 1 && operand.stride <= at(plan.slots),
              "has rows that lie further apart than their slot allows");
      return operand.stride;
    case Place::kScores:
      return plan.n_scores;
  }
  return 0;
}

void check_operand(const StepSpec& spec, const Operand& operand, const Plan& plan) {
  const std::int64_t width = width_of_place(spec, operand, plan);
  require(spec,
          operand.first >= 0 && operand.width >= 1 && operand.first <= width &&
              operand.width <= width - operand.first && operand.width < kWidest,
          "has columns outside their place");
}

bool overlap(const Operand& a, const Operand& b) {
  if (!a.shares_memory_with(b)) return false;
  // Rows that lie differently far apart meet somewhere.
  if (a.stride != b.stride) return true;
  return a.first < b.first + b.width && b.first < a.first + a.width;
}

bool same(const Operand& a, const Operand& b) {
  return a.shares_memory_with(b) && a.stride == b.stride && a.first == b.first &&
         a.width == b.width;
}

}  // namespace

void refuse_step(const StepSpec& spec, const std::string& what) {
  throw Error(ErrorKind::kModelFormat, "step " + spec.name + " (" + spec.op + ") " + what);
}

void require(const StepSpec& spec, bool condition, const char* what) {
  if (!condition) refuse_step(spec, what);
}

void check_operands(const StepSpec& spec, const Plan& plan) {
  for (const Operand& input : spec.inputs) check_operand(spec, input, plan);
  check_operand(spec, spec.output, plan);
  require(spec, spec.output.place == Place::kSlot || spec.output.place == Place::kScores,
          "writes to an input");
}

void require_inputs(const StepSpec& spec, std::size_t count) {
  if (spec.inputs.size() != count) {
    refuse_step(spec, "has " + std::to_string(spec.inputs.size()) + " inputs, and " +
                          std::to_string(count) + " are needed");
  }
}

void require_apart(const StepSpec& spec) {
  for (const Operand& input : spec.inputs) {
    require(spec, !overlap(input, spec.output), "writes over what it reads");
  }
}

void require_apart_or_same(const StepSpec& spec) {
  for (const Operand& input : spec.inputs) {
    require(spec, !overlap(input, spec.output) || same(input, spec.output),
            "writes over what it reads");
  }
}

const Tensor* find_tensor(const StepSpec& spec, const char* name) {
  const auto found = spec.tensors.find(name);
  return found == spec.tensors.end() ? nullptr : &found->second;
}

const Tensor& tensor(const StepSpec& spec, const char* name) {
  const Tensor* found = find_tensor(spec, name);
  if (found == nullptr) refuse_step(spec, std::string("has no tensor ") + name);
  return *found;
}

const float* floats(const StepSpec& spec, const char* name, std::int64_t size) {
  const Tensor& found = tensor(spec, name);
  if (found.type != Tensor::Type::kFloat32 || found.size() != size) {
    refuse_step(spec, std::string("needs ") + std::to_string(size) + " float32 numbers as " + name);
  }
  return static_cast<const float*>(found.data);
}

const float* floats_or_null(const StepSpec& spec, const char* name, std::int64_t size) {
  return find_tensor(spec, name) == nullptr ? nullptr : floats(spec, name, size);
}

double number(const StepSpec& spec, const char* name, double missing) {
  const auto found = spec.numbers.find(name);
  return found == spec.numbers.end() ? missing : found->second;
}

std::int64_t count(const StepSpec& spec, const char* name, std::int64_t missing) {
  const double given = number(spec, name, static_cast<double>(missing));
  if (!(given >= 1 && given < static_cast<double>(kWidest)) || given != std::floor(given)) {
    refuse_step(spec, std::string(name) + " is not a whole number from 1");
  }
  return static_cast<std::int64_t>(given);
}

bool parse_activation(const std::string& name, kernels::ActivationKind& kind) {
  using Kind = kernels::ActivationKind;
  static const std::map<std::string, Kind> kKinds = {
      {"identity", Kind::kIdentity}, {"relu", Kind::kRelu},
      {"sigmoid", Kind::kSigmoid},   {"tanh", Kind::kTanh},
      {"softrelu", Kind::kSoftRelu}, {"softsign", Kind::kSoftSign},
      {"leaky", Kind::kLeakyRelu},   {"prelu", Kind::kPRelu},
      {"elu", Kind::kElu},           {"selu", Kind::kSelu},
      {"gelu", Kind::kGelu},         {"hard_sigmoid", Kind::kHardSigmoid},
      {"exp", Kind::kExp},           {"erf", Kind::kErf},
  };
  const auto found = kKinds.find(name);
  if (found == kKinds.end()) return false;
  kind = found->second;
  return true;
}

kernels::Activation activation(const StepSpec& spec, std::int64_t width) {
  kernels::Activation found;
  if (!parse_activation(spec.function, found.kind)) {
    refuse_step(spec, "has an unknown activation, " + spec.function);
  }
  found.alpha = static_cast<float>(number(spec, "alpha", 0));
  found.beta = static_cast<float>(number(spec, "beta", 0));
  if (found.kind == kernels::ActivationKind::kPRelu) found.slopes = floats(spec, "slopes", width);
  return found;
}

}  // namespace fastprop
