#if defined(__x86_64__)

#if defined(FASTPROP_SIMDE)  // a test build for processors without AVX-512
#include "simde_avx512.hpp"
#else
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fastprop/kernels/isa.hpp"

#define FASTPROP_ISA avx512_bf16
#define FASTPROP_BF16_DOT

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own definitions of unmasked AVX-512 operations start from an undefined register.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(FASTPROP_SIMDE)
#elif defined(__clang__)
#pragma clang attribute push(                                                                 \
    __attribute__((target("avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), \
    apply_to = function)
#else
#pragma GCC target("avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#endif

#include "fastprop/kernels/simd_avx512.hpp"

namespace fastprop::kernels::avx512_bf16 {
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
  static const Kernels kTable{Isa::kAvx512Bf16,
                              avx512::table().sparse_layer,
                              avx512::table().sparse_layer_by_ranges,
                              dense,
                              dense_top_k,
                              activate,
                              softmax,
                              top_k,
                              top_k_begin,
                              top_k_update,
                              top_k_finish,
                              avx512::table().check_csr};
  return kTable;
}

}  // namespace fastprop::kernels::avx512_bf16

#if defined(__clang__) && !defined(FASTPROP_SIMDE)
#pragma clang attribute pop
#endif

#endif
