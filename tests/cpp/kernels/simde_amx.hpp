// AMX's tiles in plain C++, for testing the kernels on processors without them; names as in
// simd_amx.hpp. A load or store touches what the instructions would, no more.

#pragma once

#include "fastprop/kernels/simd_avx512.hpp"

namespace fastprop::kernels::FASTPROP_ISA {
namespace {

struct Tiles {
  std::size_t rows[8] = {};
  std::uint32_t data[8][16][16] = {};
};

inline Tiles& tiles() {
  thread_local Tiles state;
  return state;
}

inline void configure_tiles(std::size_t upper, std::size_t lower) {
  tiles() = Tiles{{upper, upper, lower, lower, upper, lower, 16, 16}, {}};
}

inline void release_tiles() { tiles() = Tiles{}; }

template <int kTile>
void load_tile(const void* from, std::size_t stride_bytes) {
  for (std::size_t row = 0; row < tiles().rows[kTile]; ++row) {
    std::memcpy(tiles().data[kTile][row], static_cast<const char*>(from) + row * stride_bytes, 64);
  }
}

template <int kTile>
void store_tile(void* to, std::size_t stride_bytes) {
  for (std::size_t row = 0; row < tiles().rows[kTile]; ++row) {
    std::memcpy(static_cast<char*>(to) + row * stride_bytes, tiles().data[kTile][row], 64);
  }
}

template <int kTile>
void zero_tile() {
  std::memset(tiles().data[kTile], 0, sizeof tiles().data[kTile]);
}

inline float half_of(std::uint32_t pair, unsigned half) {
  const std::uint32_t bits = half == 0 ? pair << 16 : pair & 0xFFFF0000U;
  float x = 0.0F;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <int kSums, int kInputs, int kWeights>
void dot_bf16() {
  for (std::size_t row = 0; row < tiles().rows[kSums]; ++row) {
    for (std::size_t column = 0; column < 16; ++column) {
      float sum = 0.0F;
      std::memcpy(&sum, &tiles().data[kSums][row][column], sizeof sum);
      for (std::size_t k = 0; k < 16; ++k) {
        for (unsigned half = 0; half < 2; ++half) {
          sum += half_of(tiles().data[kInputs][row][k], half) *
                 half_of(tiles().data[kWeights][k][column], half);
        }
      }
      std::memcpy(&tiles().data[kSums][row][column], &sum, sizeof sum);
    }
  }
}

template <int kSums, int kInputs, int kWeights>
void dot_int8() {
  for (std::size_t row = 0; row < tiles().rows[kSums]; ++row) {
    for (std::size_t column = 0; column < 16; ++column) {
      std::int32_t sum = 0;
      std::memcpy(&sum, &tiles().data[kSums][row][column], sizeof sum);
      for (std::size_t k = 0; k < 16; ++k) {
        std::uint8_t inputs[4];
        std::int8_t weights[4];
        std::memcpy(inputs, &tiles().data[kInputs][row][k], sizeof inputs);
        std::memcpy(weights, &tiles().data[kWeights][k][column], sizeof weights);
        for (unsigned i = 0; i < 4; ++i) sum += inputs[i] * weights[i];
      }
      std::memcpy(&tiles().data[kSums][row][column], &sum, sizeof sum);
    }
  }
}

inline void store_bf16(F first, F second, float* to) {
  const F from[2] = {first, second};
  float x[32];
  std::uint16_t rounded[32];
  std::memcpy(x, from, sizeof x);
  round_to_bf16(x, 32, rounded);
  std::memcpy(to, rounded, sizeof rounded);
}

inline F nearest_bf16(F x) {
  float both[16];
  store_bf16(x, x, both);
  return load_bf16(reinterpret_cast<const std::uint16_t*>(both));
}

inline void store_two_bf16(F first, F second, float* upper, float* lower) {
  const F from[2] = {first, second};
  std::uint16_t halves[2][32];
  for (std::size_t i = 0; i < 32; ++i) {
    float x = 0.0F;
    std::memcpy(&x, reinterpret_cast<const float*>(from) + i, sizeof x);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    halves[0][i] = static_cast<std::uint16_t>(bits >> 16);
    bits &= 0xFFFF0000U;
    float above = 0.0F;
    std::memcpy(&above, &bits, sizeof above);
    const float below = x == above ? 0.0F : x - above;
    round_to_bf16(&below, 1, &halves[1][i]);
  }
  std::memcpy(upper, halves[0], sizeof halves[0]);
  std::memcpy(lower, halves[1], sizeof halves[1]);
}

}  // namespace
}  // namespace fastprop::kernels::FASTPROP_ISA
