// The makers of all steps, one file each. They are called after the operands have been checked.
#pragma once

#include "fastprop/predict/steps/step.hpp"

namespace fastprop {

// activation(rows x weight + bias), the rows being sparse.
std::unique_ptr<Step> make_sparse_step(const StepSpec& spec, const Plan& plan);
// activation(input x weight + bias), applied to each of `repeat` parts of a row.
std::unique_ptr<Step> make_dense_step(const StepSpec& spec, const Plan& plan);
// An activation, element by element.
std::unique_ptr<Step> make_activate_step(const StepSpec& spec, const Plan& plan);
// Another function of every element.
std::unique_ptr<Step> make_unary_step(const StepSpec& spec, const Plan& plan);
// A function of two operands, or of an operand and constants, column by column.
std::unique_ptr<Step> make_binary_step(const StepSpec& spec, const Plan& plan);
// Softmax or log-softmax over neighbouring groups of `group` columns.
std::unique_ptr<Step> make_softmax_step(const StepSpec& spec, const Plan& plan);
// The columns as they are.
std::unique_ptr<Step> make_copy_step(const StepSpec& spec, const Plan& plan);
// Columns in another order, or several times.
std::unique_ptr<Step> make_columns_step(const StepSpec& spec, const Plan& plan);

}  // namespace fastprop
