// What the translation units of the instruction sets share: their tables and two macros. A unit
// includes the standard headers and this one, then sets its target, and uses no inline code of
// either header after that.

#pragma once

#include "fastprop/kernels/kernels.hpp"

#define FASTPROP_INLINE inline __attribute__((always_inline))
#define FASTPROP_INLINE_LAMBDA __attribute__((always_inline))

// Loops of constant length over registers; and long ones.
#if defined(__clang__)
#define FASTPROP_UNROLL _Pragma("clang loop unroll(full)")
#define FASTPROP_UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define FASTPROP_UNROLL _Pragma("GCC unroll 32")
#define FASTPROP_UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif

namespace fastprop::kernels {

namespace scalar {
const Kernels& table() noexcept;
}
namespace avx2 {
const Kernels& table() noexcept;
}
namespace avx512 {
const Kernels& table() noexcept;
}
namespace avx512_vnni {
const Kernels& table() noexcept;
}
namespace amx {
const Kernels& table() noexcept;
}

}  // namespace fastprop::kernels
