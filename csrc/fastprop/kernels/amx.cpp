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

#define FASTPROP_ISA amx
#define FASTPROP_AMX
#define FASTPROP_VNNI

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own definitions of unmasked AVX-512 operations start from an undefined register.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(FASTPROP_SIMDE)
#elif defined(__clang__)
#pragma clang attribute push(                                                              \
    __attribute__((                                                                        \
        target("avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16," \
               "amx-tile,amx-bf16,amx-int8"))),                                            \
    apply_to = function)
#else
// The tiles' instructions are in assembly, of which GCC asks nothing.
#pragma GCC target("avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")
#endif

#if defined(FASTPROP_SIMDE)
#include "simde_amx.hpp"
#else
#include "fastprop/kernels/simd_amx.hpp"
#endif

namespace fastprop::kernels::amx {
namespace {
constexpr Isa kIsa = Isa::kAmx;
}
}  // namespace fastprop::kernels::amx

#include "fastprop/kernels/body/avx512_dense.inl"

#if defined(__clang__) && !defined(FASTPROP_SIMDE)
#pragma clang attribute pop
#endif

#endif
