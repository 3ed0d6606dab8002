// The kernels of one instruction set and their table. Included once, by that instruction set's
// .cpp, after its simd_*.hpp; FASTPROP_ISA is its namespace. All but the table has internal
// linkage, so that no code of one target can be linked into another.

namespace fastprop::kernels::FASTPROP_ISA {
namespace {

FASTPROP_INLINE std::size_t lesser(std::size_t a, std::size_t b) { return a < b ? a : b; }

// clang-format off: each needs those before it
#include "fastprop/kernels/body/math.inl"
#include "fastprop/kernels/body/sparse.inl"
#include "fastprop/kernels/body/sparse_ranges.inl"
#include "fastprop/kernels/body/top_k_heap.inl"
#include "fastprop/kernels/body/top_k_gather.inl"
#include "fastprop/kernels/body/top_k.inl"
#include "fastprop/kernels/body/dense.inl"
#include "fastprop/kernels/body/check_csr.inl"
// clang-format on

}  // namespace

const Kernels& table() noexcept {
  static constexpr Kernels kTable{kIsa,         sparse_layer, sparse_layer_by_ranges,
                                  dense,        dense_top_k,  quantized_words,
                                  quantize,     activate,     softmax,
                                  top_k,        top_k_begin,  top_k_update,
                                  top_k_finish, check_csr};
  return kTable;
}

}  // namespace fastprop::kernels::FASTPROP_ISA
