#include "fastprop/predict/check.hpp"

#include <cmath>
#include <sstream>

namespace fastprop {

namespace {

std::string describe(const CsrView& csr, std::int64_t first, std::int64_t n_rows,
                     const kernels::CsrCheck& check, const CheckOptions& options) {
  const auto position = static_cast<std::int64_t>(check.position);
  std::ostringstream text;
  switch (check.fault) {
    case kernels::CsrFault::kIndptrStart:
      text << "rows.indptr[" << first + options.first_row << "] is " << csr.indptr[first]
           << ", but no offset may be negative";
      return text.str();
    case kernels::CsrFault::kIndptrOrder:
      text << "rows.indptr[" << first + position + options.first_row << "] is "
           << csr.indptr[first + position] << ", less than the " << csr.indptr[first + position - 1]
           << " before it";
      return text.str();
    case kernels::CsrFault::kIndptrEnd:
      text << "rows.indptr[" << first + n_rows + options.first_row << "] is "
           << csr.indptr[first + n_rows] << ", but rows.indices has " << csr.n_entries
           << " elements";
      return text.str();
    case kernels::CsrFault::kIndexRange:
    case kernels::CsrFault::kValueFinite:
    case kernels::CsrFault::kNone:
      break;
  }
  std::int64_t row = first;
  while (csr.indptr[row + 1] <= position) ++row;
  text << "rows[" << row + options.first_row << "].";
  if (check.fault == kernels::CsrFault::kIndexRange) {
    text << "indices[" << position - csr.indptr[row] << "] is " << csr.indices[position]
         << ", but the model has " << csr.n_columns << " features";
  } else {
    text << "values[" << position - csr.indptr[row] << "] is " << csr.values[position]
         << ", which is not a finite float32";
  }
  return text.str();
}

std::optional<std::string> dense_fault(const std::string& name, const DenseView& view,
                                       std::int64_t first, std::int64_t n_rows,
                                       const CheckOptions& options) {
  if (!options.finite) return std::nullopt;
  for (std::int64_t i = first; i < first + n_rows; ++i) {
    const float* row = view.row(i);
    for (std::int64_t j = 0; j < view.width; ++j) {
      if (!std::isfinite(row[j])) {
        std::ostringstream text;
        text << name << "[" << i + options.first_row << "][" << j << "] is " << row[j]
             << ", which is not a finite float32";
        return text.str();
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_fault(const Tile& tile, const std::vector<FurtherSpec>& specs,
                                      const CheckOptions& options, const kernels::Kernels& table) {
  const auto [rows, further, first, n_rows, may_be_helped] = tile;
  (void)may_be_helped;
  if (const auto* csr = std::get_if<CsrView>(&rows)) {
    if (!csr->checked) {
      const kernels::CsrCheck check =
          table.check_csr(rows_from(*csr, first), static_cast<std::size_t>(n_rows), csr->n_entries,
                          csr->n_columns, options.finite);
      if (check.fault != kernels::CsrFault::kNone) {
        return describe(*csr, first, n_rows, check, options);
      }
    }
  } else if (auto fault = dense_fault("rows", std::get<DenseView>(rows), first, n_rows, options)) {
    return fault;
  }
  for (std::size_t i = 0; i < further.size(); ++i) {
    const std::string name = "inputs[\"" + specs[i].name + "\"]";
    if (auto fault = dense_fault(name, further[i], first, n_rows, options)) return fault;
  }
  return std::nullopt;
}

}  // namespace fastprop
