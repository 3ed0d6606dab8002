// Sparse rows written out in one form of elements: int64 columns, float32 values.
#pragma once

#include <cstdint>

#include "fastprop/views.hpp"

namespace fastprop {

// Writes rows [first, first + n_rows) of `rows`, which must have been checked: n_rows + 1 offsets
// from 0, and room for as many entries as these rows have. With `canonical`, columns are sorted and
// duplicates summed within each row. Returns how many entries there are then.
std::int64_t copy_rows(const CsrView& rows, std::int64_t first, std::int64_t n_rows, bool canonical,
                       std::int64_t* indptr, std::int64_t* indices, float* values);

}  // namespace fastprop
