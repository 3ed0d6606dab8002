// The makers of all steps, one file each. They are called after the operands have been checked.
#pragma once

#include "fastprop/predict/steps/step.hpp"

namespace fastprop {

// activation(f(rows) x weight + bias), the rows being sparse; f is in the kind's name.
std::unique_ptr<Step> make_sparse_step(const StepSpec& spec, const Plan& plan);
// The sparse rows as dense ones.
std::unique_ptr<Step> make_written_out_step(const StepSpec& spec, const Plan& plan);
// activation(input x weight + bias), applied to each of `repeat` parts of a row.
std::unique_ptr<Step> make_dense_step(const StepSpec& spec, const Plan& plan);
// An activation, element by element.
std::unique_ptr<Step> make_activate_step(const StepSpec& spec, const Plan& plan);
// Another function of every element.
std::unique_ptr<Step> make_unary_step(const StepSpec& spec, const Plan& plan);
// A function of two operands, or of an operand and constants, column by column.
std::unique_ptr<Step> make_binary_step(const StepSpec& spec, const Plan& plan);
// Scale and shift, column by column.
std::unique_ptr<Step> make_affine_step(const StepSpec& spec, const Plan& plan);
// Groups of `group` columns brought to mean 0 and deviation 1, or to length 1.
std::unique_ptr<Step> make_normalize_step(const StepSpec& spec, const Plan& plan);
// A sum or the like of each group of `group` columns.
std::unique_ptr<Step> make_reduce_step(const StepSpec& spec, const Plan& plan);
// The second operand where the first is not zero, else the third.
std::unique_ptr<Step> make_where_step(const StepSpec& spec, const Plan& plan);
// Softmax or log-softmax over neighbouring groups of `group` columns.
std::unique_ptr<Step> make_softmax_step(const StepSpec& spec, const Plan& plan);
// A row of a table for each column, which is its number.
std::unique_ptr<Step> make_embedding_step(const StepSpec& spec, const Plan& plan);
// For each row the products of `count` pairs of matrices.
std::unique_ptr<Step> make_batch_dot_step(const StepSpec& spec, const Plan& plan);
// The columns as they are.
std::unique_ptr<Step> make_copy_step(const StepSpec& spec, const Plan& plan);
// Columns in another order, or several times.
std::unique_ptr<Step> make_columns_step(const StepSpec& spec, const Plan& plan);

}  // namespace fastprop
