// AVX-512 by SIMDe, for testing the AVX-512 kernels on processors without it. Adds the intrinsics
// that the kernels use and SIMDe 0.7.4 lacks. Masked ones touch the chosen lanes only.

#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <cstdint>

namespace simde_test {

template <class Lane, class Vector>
inline Vector load(std::uint32_t mask, const void* from) {
  constexpr unsigned kLanes = sizeof(Vector) / sizeof(Lane);
  Lane lanes[kLanes] = {};
  for (unsigned i = 0; i < kLanes; ++i) {
    if ((mask >> i & 1U) != 0) {
      __builtin_memcpy(lanes + i, static_cast<const char*>(from) + i * sizeof(Lane), sizeof(Lane));
    }
  }
  Vector x;
  __builtin_memcpy(&x, lanes, sizeof x);
  return x;
}

inline void store(float* to, std::uint32_t mask, __m512 x) {
  for (unsigned i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) {
      __builtin_memcpy(to + i, reinterpret_cast<const float*>(&x) + i, sizeof(float));
    }
  }
}

inline __m512i widen(__m256i x) {
  std::uint16_t from[16];
  std::uint32_t to[16];
  __builtin_memcpy(from, &x, sizeof x);
  for (unsigned i = 0; i < 16; ++i) to[i] = from[i];
  return _mm512_loadu_si512(to);
}

}  // namespace simde_test

#define _mm512_cvtepu16_epi32(x) simde_test::widen(x)

#define _mm512_maskz_loadu_ps(mask, from) simde_test::load<float, __m512>(mask, from)
#define _mm256_maskz_loadu_epi16(mask, from) simde_test::load<std::uint16_t, __m256i>(mask, from)
#define _mm512_mask_storeu_ps(to, mask, x) simde_test::store(to, mask, x)
#define _mm512_stream_ps(to, x) _mm512_store_ps(to, x)

// SIMDe's own macro takes the arguments of the masked one.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
