// AMX's tiles, beside the vectors of simd_avx512.hpp: eight registers of up to 16 rows of 64 bytes.
// In assembly, for GCC's own definitions take no register numbers from templates and say nothing to
// the compiler of the memory that they read.

#pragma once

#include "fastprop/kernels/simd_avx512.hpp"

namespace fastprop::kernels::FASTPROP_ISA {
namespace {

// The sums are tiles 0 to 3, the upper row of tiles first; inputs 4 and 5; weights 6 and 7.
// `upper` and `lower`: rows of the inputs and sums in either row of tiles.
void configure_tiles(std::size_t upper, std::size_t lower) {
  struct alignas(64) Configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
  Configuration tiles;
  for (unsigned tile = 0; tile < 8; ++tile) {
    const bool is_lower = tile == 2 || tile == 3 || tile == 5;
    const std::size_t rows = tile >= 6 ? 16 : (is_lower ? lower : upper);
    tiles.rows[tile] = static_cast<std::uint8_t>(rows);
    tiles.row_bytes[tile] = rows > 0 ? 64 : 0;
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(tiles));
}

FASTPROP_INLINE void release_tiles() { __asm__ volatile("tilerelease" ::); }

template <int kTile>
FASTPROP_INLINE void load_tile(const void* from, std::size_t stride_bytes) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(kTile)
                   : "memory");
}

template <int kTile>
FASTPROP_INLINE void store_tile(void* to, std::size_t stride_bytes) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride_bytes), "i"(kTile)
                   : "memory");
}

template <int kTile>
FASTPROP_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}

// sums += inputs x weights, the inputs two bf16 a lane.
template <int kSums, int kInputs, int kWeights>
FASTPROP_INLINE void dot_bf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kInputs),
                   "i"(kWeights));
}

// sums += inputs x weights, the inputs four unsigned bytes a lane, the weights signed.
template <int kSums, int kInputs, int kWeights>
FASTPROP_INLINE void dot_int8() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kInputs),
                   "i"(kWeights));
}

// To the nearest bf16, ties to even; nothing of what is below the normal numbers.
FASTPROP_INLINE F nearest_bf16(F x) { return widen_bf16((__m256i)_mm512_cvtneps_pbh(x)); }
FASTPROP_INLINE void store_bf16(F first, F second, float* to) {
  store(to, (F)_mm512_cvtne2ps_pbh(second, first));
}

// What a float is more than the bf16 above it, towards zero: nothing where it is infinite.
FASTPROP_INLINE F below_bf16(F x) {
  const F upper = (F)((I)x & -65536);
  return _mm512_maskz_sub_ps(_mm512_cmp_ps_mask(x, upper, _CMP_NEQ_UQ), x, upper);
}

// 32 floats as the sums of two bf16 each, exact to 2^-16 of the float.
FASTPROP_INLINE void store_two_bf16(F first, F second, float* upper, float* lower) {
  using Halves = std::uint16_t __attribute__((vector_size(64)));
  constexpr Halves kOdd = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                           33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  store(upper, (F)_mm512_permutex2var_epi16((__m512i)first, (__m512i)kOdd, (__m512i)second));
  store(lower, (F)_mm512_cvtne2ps_pbh(below_bf16(second), below_bf16(first)));
}

}  // namespace
}  // namespace fastprop::kernels::FASTPROP_ISA
