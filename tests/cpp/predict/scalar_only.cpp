// The tests of threads run one instruction set: the tables of the others, which take long to
// compile and have tests of their own, are this one again.

#include "fastprop/kernels/isa.hpp"

namespace fastprop::kernels {

namespace avx2 {
const Kernels& table() noexcept { return scalar::table(); }
}  // namespace avx2
namespace avx512 {
const Kernels& table() noexcept { return scalar::table(); }
}  // namespace avx512
namespace avx512_vnni {
const Kernels& table() noexcept { return scalar::table(); }
}  // namespace avx512_vnni
namespace amx {
const Kernels& table() noexcept { return scalar::table(); }
}  // namespace amx

}  // namespace fastprop::kernels
