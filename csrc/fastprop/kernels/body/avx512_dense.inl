// The kernels of an instruction set that has dense layers of its own, and their table; the rest is
// AVX-512's. Included once, as all.inl is.

namespace fastprop::kernels::FASTPROP_ISA {
namespace {

FASTPROP_INLINE std::size_t lesser(std::size_t a, std::size_t b) { return a < b ? a : b; }

// clang-format off: each needs those before it
#include "fastprop/kernels/body/math.inl"
#include "fastprop/kernels/body/top_k_heap.inl"
#include "fastprop/kernels/body/top_k_gather.inl"
#include "fastprop/kernels/body/top_k.inl"
#include "fastprop/kernels/body/dense.inl"
// clang-format on

}  // namespace

const Kernels& table() noexcept {
  static const Kernels kTable{kIsa,
                              avx512::table().sparse_layer,
                              avx512::table().sparse_layer_by_ranges,
                              dense,
                              dense_top_k,
                              quantized_words,
                              quantize,
                              activate,
                              softmax,
                              top_k,
                              top_k_begin,
                              top_k_update,
                              top_k_finish,
                              avx512::table().check_csr};
  return kTable;
}

}  // namespace fastprop::kernels::FASTPROP_ISA
