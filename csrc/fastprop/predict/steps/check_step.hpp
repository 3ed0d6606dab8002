// What the makers of steps check: each function throws kModelFormat, naming the step, where the
// plan does not hold what it is asked for.
#pragma once

#include <cstddef>
#include <string>

#include "fastprop/kernels/kernels.hpp"
#include "fastprop/predict/plan.hpp"

namespace fastprop {

[[noreturn]] void refuse_step(const StepSpec& spec, const std::string& what);
void require(const StepSpec& spec, bool condition, const char* what);

// Every operand inside its place, results in a slot or the scores.
void check_operands(const StepSpec& spec, const Plan& plan);
void require_inputs(const StepSpec& spec, std::size_t count);
// For steps that read an input after they have begun to write: apart from the output.
void require_apart(const StepSpec& spec);
// For steps that work element by element: each input apart from the output, or the very same.
void require_apart_or_same(const StepSpec& spec);

const Tensor* find_tensor(const StepSpec& spec, const char* name);  // nullptr: there is none
const Tensor& tensor(const StepSpec& spec, const char* name);
// A float32 tensor of so many elements.
const float* floats(const StepSpec& spec, const char* name, std::int64_t size);
const float* floats_or_null(const StepSpec& spec, const char* name, std::int64_t size);
double number(const StepSpec& spec, const char* name, double missing);
// A whole number of at least 1.
std::int64_t count(const StepSpec& spec, const char* name, std::int64_t missing);

// The activation that `spec.function` names, over `width` columns.
kernels::Activation activation(const StepSpec& spec, std::int64_t width);
// False: there is no activation of this name.
bool parse_activation(const std::string& name, kernels::ActivationKind& kind);

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace fastprop
