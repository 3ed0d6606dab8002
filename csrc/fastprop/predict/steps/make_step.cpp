#include <map>

#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/steps/makers.hpp"

namespace fastprop {

std::unique_ptr<Step> make_step(const StepSpec& spec, const Plan& plan) {
  using Maker = std::unique_ptr<Step> (*)(const StepSpec&, const Plan&);
  static const std::map<std::string, Maker> kMakers = {
      {"sparse", make_sparse_step},
      {"sparse_square", make_sparse_step},
      {"sparse_abs", make_sparse_step},
      {"sparse_sign", make_sparse_step},
      {"written_out", make_written_out_step},
      {"dense", make_dense_step},
      {"activate", make_activate_step},
      {"unary", make_unary_step},
      {"binary", make_binary_step},
      {"affine", make_affine_step},
      {"normalize", make_normalize_step},
      {"reduce", make_reduce_step},
      {"where", make_where_step},
      {"softmax", make_softmax_step},
      {"embedding", make_embedding_step},
      {"batch_dot", make_batch_dot_step},
      {"copy", make_copy_step},
      {"columns", make_columns_step},
  };
  const auto maker = kMakers.find(spec.op);
  if (maker == kMakers.end()) refuse_step(spec, "is of a kind that this version does not know");
  check_operands(spec, plan);
  const bool takes_sparse_rows =
      maker->second == make_sparse_step || maker->second == make_written_out_step;
  for (const Operand& input : spec.inputs) {
    require(spec, takes_sparse_rows || input.place != Place::kRows || !plan.rows.sparse,
            "reads sparse rows as a matrix");
  }
  return maker->second(spec, plan);
}

}  // namespace fastprop
