#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fastprop/kernels/isa.hpp"
#include "fastprop/kernels/simd_scalar.hpp"

#define FASTPROP_ISA scalar

namespace fastprop::kernels::scalar {
namespace {
constexpr Isa kIsa = Isa::kScalar;
}
}  // namespace fastprop::kernels::scalar

#include "fastprop/kernels/body/all.inl"
