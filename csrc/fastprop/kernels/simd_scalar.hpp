// The vectors of the portable kernels: 16 bytes of the compiler's generic vectors, which it lowers
// to SSE2, to NEON or to plain scalar code. Included by scalar.cpp only. `simd_avx2.hpp` and
// `simd_avx512.hpp` define the same names; body/*.inl are written against them. max(a, b) and
// min(a, b) give b where either is NaN, as on x86.

#pragma once

namespace fastprop::kernels::scalar {
namespace {

inline constexpr std::size_t kLanes = 4;
using F = float __attribute__((vector_size(16)));
using I = std::int32_t __attribute__((vector_size(16)));
using Pairs = std::int16_t __attribute__((vector_size(16)));
using M = I;

struct Tail {
  std::size_t n;
};

// Sizes of blocks, by the number of registers.
inline constexpr std::size_t kSparseVectors = 12;
inline constexpr bool kBeginsFar = false;
#if defined(__aarch64__)
inline constexpr std::size_t kTileRows = 6;
#else
inline constexpr std::size_t kTileRows = 2;
#endif
inline constexpr std::size_t kTilePanels = 1;
inline constexpr std::size_t kDepth = 256;
constexpr std::size_t few_rows_panels(std::size_t rows) { return rows == 1 ? 2 : 1; }

FASTPROP_INLINE F zero() { return F{}; }
FASTPROP_INLINE F set1(float x) { return F{x, x, x, x}; }
FASTPROP_INLINE F load(const float* p) {
  F x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
FASTPROP_INLINE void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
FASTPROP_INLINE void stream(float* p, F x) { store(p, x); }
FASTPROP_INLINE void stream_fence() {}
FASTPROP_INLINE Tail tail(std::size_t n) { return {n}; }
FASTPROP_INLINE F load(const float* p, Tail t) {
  F x{};
  std::memcpy(&x, p, t.n * sizeof(float));
  return x;
}
FASTPROP_INLINE void store(float* p, F x, Tail t) { std::memcpy(p, &x, t.n * sizeof(float)); }

FASTPROP_INLINE F load_bf16(const std::uint16_t* p) { return (F)(I{p[0], p[1], p[2], p[3]} << 16); }
FASTPROP_INLINE F load_bf16(const std::uint16_t* p, Tail t) {
  std::uint16_t x[kLanes] = {};
  std::memcpy(x, p, t.n * sizeof(std::uint16_t));
  return load_bf16(x);
}

FASTPROP_INLINE F madd(F a, F b, F c) { return a * b + c; }
FASTPROP_INLINE F nmadd(F a, F b, F c) { return c - a * b; }
// x, rounded: the compiler may not make a fused multiply-add of it.
FASTPROP_INLINE F unfused(F x) {
  __asm__("" : "+m"(x));
  return x;
}
// Adds the products of lanes of two 16-bit integers each.
FASTPROP_INLINE I add_pairs(I sum, I a, I b) {
  return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
}
FASTPROP_INLINE F select(M m, F a, F b) { return (F)(((I)a & m) | ((I)b & ~m)); }
FASTPROP_INLINE M lt(F a, F b) { return a < b; }
FASTPROP_INLINE M ge(F a, F b) { return a >= b; }
FASTPROP_INLINE F max(F a, F b) { return select(a > b, a, b); }
FASTPROP_INLINE F min(F a, F b) { return select(a < b, a, b); }
FASTPROP_INLINE M both(M a, M b) { return a & b; }
FASTPROP_INLINE M nonzero_bytes(const std::uint8_t* p) { return I{p[0], p[1], p[2], p[3]} != 0; }
FASTPROP_INLINE unsigned bits(M m) {
  return (unsigned(m[0]) & 1U) | (unsigned(m[1]) & 2U) | (unsigned(m[2]) & 4U) |
         (unsigned(m[3]) & 8U);
}
FASTPROP_INLINE unsigned count_lanes(M m) {
  return static_cast<unsigned>(-(m[0] + m[1] + m[2] + m[3]));
}

}  // namespace
}  // namespace fastprop::kernels::scalar
