#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fastprop/kernels/isa.hpp"

#define FASTPROP_ISA avx2

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,popcnt")
#endif

#include "fastprop/kernels/simd_avx2.hpp"

namespace fastprop::kernels::avx2 {
namespace {
constexpr Isa kIsa = Isa::kAvx2;
}
}  // namespace fastprop::kernels::avx2

#include "fastprop/kernels/body/all.inl"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
