// Checks the rows of a request before any engine sees them. A fault is a sentence that names the
// place in the caller's terms, such as `rows[17].indices[3] is 300123, but the model has 300000
// features`; no fault is an empty answer. Threads: any. Reads every element once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fastprop/kernels/kernels.hpp"
#include "fastprop/predict/engine.hpp"

namespace fastprop {

struct CheckOptions {
  bool finite = true;          // refuse NaN and infinity
  std::int64_t first_row = 0;  // the caller's number of row 0, for messages
};

std::optional<std::string> find_fault(const Tile& tile, const std::vector<FurtherSpec>& specs,
                                      const CheckOptions& options, const kernels::Kernels& table);

}  // namespace fastprop
