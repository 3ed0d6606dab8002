// The vectors of the AVX2 + FMA kernels; names as in simd_scalar.hpp. Included by avx2.cpp only,
// after the target pragma.

#pragma once

namespace fastprop::kernels::avx2 {
namespace {

inline constexpr std::size_t kLanes = 8;
using F = __m256;
using I = std::int32_t __attribute__((vector_size(32)));
using Pairs = std::int16_t __attribute__((vector_size(32)));
using M = __m256;

struct Tail {
  __m256i lanes;
  __m128i pairs;  // whole pairs of 16-bit elements
  __m128i odd;    // the lane of an odd last one
  std::size_t n;
};

// 16 registers: 12 sums, the weights as operands in memory or two panels of them, one broadcast.
inline constexpr std::size_t kSparseVectors = 12;
inline constexpr bool kBeginsFar = false;
inline constexpr std::size_t kTileRows = 6;
inline constexpr std::size_t kTilePanels = 1;
inline constexpr std::size_t kDepth = 256;
constexpr std::size_t few_rows_panels(std::size_t rows) {
  return rows == 1 ? 4 : rows == 2 ? 3 : rows == 3 ? 2 : 1;
}

alignas(64) inline constexpr std::int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

FASTPROP_INLINE F zero() { return _mm256_setzero_ps(); }
FASTPROP_INLINE F set1(float x) { return _mm256_set1_ps(x); }
FASTPROP_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
FASTPROP_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
FASTPROP_INLINE void stream(float* p, F x) { _mm256_stream_ps(p, x); }
FASTPROP_INLINE void stream_fence() { _mm_sfence(); }
FASTPROP_INLINE Tail tail(std::size_t n) {
  const auto* masks = kLaneMasks + 8;
  const __m128i odd = _mm_cmpeq_epi16(_mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0),
                                      _mm_set1_epi16(static_cast<short>(n % 2 != 0 ? n - 1 : 8)));
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(masks - n)),
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(masks - n / 2)), odd, n};
}
FASTPROP_INLINE F load(const float* p, const Tail& t) { return _mm256_maskload_ps(p, t.lanes); }
FASTPROP_INLINE void store(float* p, F x, const Tail& t) { _mm256_maskstore_ps(p, t.lanes, x); }

FASTPROP_INLINE F widen_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
FASTPROP_INLINE F load_bf16(const std::uint16_t* p) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
FASTPROP_INLINE F load_bf16(const std::uint16_t* p, const Tail& t) {
  const __m128i pairs = _mm_maskload_epi32(reinterpret_cast<const int*>(p), t.pairs);
  const __m128i last = _mm_set1_epi16(static_cast<short>(p[t.n - 1]));
  return widen_bf16(_mm_blendv_epi8(pairs, last, t.odd));
}

FASTPROP_INLINE F madd(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
FASTPROP_INLINE F nmadd(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
FASTPROP_INLINE F unfused(F x) {
  __asm__("" : "+x"(x));
  return x;
}
FASTPROP_INLINE I add_pairs(I sum, I a, I b) {
  // Written out, or compilers add products to each other first, for which registers are missing.
  I products;
  __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(a), "x"(b));
  return sum;
}
FASTPROP_INLINE F select(M m, F a, F b) { return _mm256_blendv_ps(b, a, m); }
FASTPROP_INLINE M lt(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FASTPROP_INLINE M ge(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
FASTPROP_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
FASTPROP_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }
FASTPROP_INLINE M both(M a, M b) { return _mm256_and_ps(a, b); }
FASTPROP_INLINE M nonzero_bytes(const std::uint8_t* p) {
  const __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(x, _mm256_setzero_si256()));
}
FASTPROP_INLINE unsigned bits(M m) { return static_cast<unsigned>(_mm256_movemask_ps(m)); }
FASTPROP_INLINE unsigned count_lanes(M m) { return static_cast<unsigned>(_mm_popcnt_u32(bits(m))); }

}  // namespace
}  // namespace fastprop::kernels::avx2
