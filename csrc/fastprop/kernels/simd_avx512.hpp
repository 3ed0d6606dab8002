// The vectors of the AVX-512 kernels; names as in simd_scalar.hpp. Included after the target pragma
// by avx512.cpp, avx512_vnni.cpp and amx.cpp, each of which names its namespace.

#pragma once

namespace fastprop::kernels::FASTPROP_ISA {
namespace {

inline constexpr std::size_t kLanes = 16;
using F = __m512;
using I = std::int32_t __attribute__((vector_size(64)));
using Pairs = std::int16_t __attribute__((vector_size(64)));
using M = __mmask16;

struct Tail {
  __mmask16 lanes;
  std::size_t n;
};

// 32 registers: 24 sums, four panels of weights, one broadcast.
inline constexpr std::size_t kSparseVectors = 16;
inline constexpr bool kBeginsFar = true;
inline constexpr std::size_t kTileRows = 6;
inline constexpr std::size_t kTilePanels = 4;
inline constexpr std::size_t kDepth = 256;
constexpr std::size_t few_rows_panels(std::size_t rows) {
  return rows <= 2 ? 8 : rows == 3 ? 6 : 4;
}

FASTPROP_INLINE F zero() { return _mm512_setzero_ps(); }
FASTPROP_INLINE F set1(float x) { return _mm512_set1_ps(x); }
FASTPROP_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
FASTPROP_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
FASTPROP_INLINE void stream(float* p, F x) { _mm512_stream_ps(p, x); }
FASTPROP_INLINE void stream_fence() { _mm_sfence(); }
FASTPROP_INLINE Tail tail(std::size_t n) { return {static_cast<__mmask16>((1U << n) - 1U), n}; }
FASTPROP_INLINE F load(const float* p, Tail t) { return _mm512_maskz_loadu_ps(t.lanes, p); }
FASTPROP_INLINE void store(float* p, F x, Tail t) { _mm512_mask_storeu_ps(p, t.lanes, x); }

FASTPROP_INLINE F widen_bf16(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
FASTPROP_INLINE F load_bf16(const std::uint16_t* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
FASTPROP_INLINE F load_bf16(const std::uint16_t* p, Tail t) {
  return widen_bf16(_mm256_maskz_loadu_epi16(t.lanes, p));
}

FASTPROP_INLINE F madd(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
FASTPROP_INLINE F nmadd(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
#if defined(FASTPROP_SIMDE)
#define FASTPROP_REGISTER "+m"
#else
#define FASTPROP_REGISTER "+v"
#endif
FASTPROP_INLINE F unfused(F x) {
  __asm__("" : FASTPROP_REGISTER(x));
  return x;
}
FASTPROP_INLINE I add_pairs(I sum, I a, I b) {
  sum += (I)_mm512_madd_epi16((__m512i)a, (__m512i)b);
  __asm__("" : FASTPROP_REGISTER(sum));  // or products are added to each other first
  return sum;
}
#undef FASTPROP_REGISTER
FASTPROP_INLINE F select(M m, F a, F b) { return _mm512_mask_blend_ps(m, b, a); }
FASTPROP_INLINE M lt(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FASTPROP_INLINE M ge(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
FASTPROP_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
FASTPROP_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
FASTPROP_INLINE M both(M a, M b) { return static_cast<M>(a & b); }
FASTPROP_INLINE M nonzero_bytes(const std::uint8_t* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128()));
  return static_cast<M>(~zeros & 0xFFFF);
}
FASTPROP_INLINE unsigned bits(M m) { return m; }
FASTPROP_INLINE unsigned count_lanes(M m) { return static_cast<unsigned>(_mm_popcnt_u32(bits(m))); }

}  // namespace
}  // namespace fastprop::kernels::FASTPROP_ISA
