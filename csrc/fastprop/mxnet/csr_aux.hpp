// Where a CSR array of MXNet keeps its indptr and indices. The C API hands out copies only, so the
// addresses are read from the object behind the handle, whose layout is known for MXNet 1.9 built
// with GCC. The layout is tried once per process on a scratch array, by content in both directions;
// where it does not hold, the answer is "unknown" and callers copy through the C API instead.
#pragma once

#include <cstdint>

namespace fastprop::mxnet {

struct CsrAux {
  std::int64_t* indptr = nullptr;
  std::int64_t* indices = nullptr;
};

// Both null where the layout is not the known one. `values` is what MXNDArrayGetData answers.
CsrAux find_csr_aux(void* handle, const void* values, std::int64_t n_indptr,
                    std::int64_t n_indices);

// For tests: pretend that the layout is unknown.
void set_csr_aux_enabled(bool enabled) noexcept;

}  // namespace fastprop::mxnet
