// The choice of instruction set: what the processor reports (CPUID) and the operating system saves
// (XCR0), asked once. Not by the compiler's __builtin_cpu_supports, whose run-time half is missing
// from some tool chains, where it denies everything.

#include <cstring>

#include "fastprop/kernels/isa.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fastprop::kernels {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAmx};

#if defined(__x86_64__)

struct CpuidLeaf {
  CpuidLeaf(unsigned leaf, unsigned subleaf) {
    if (__get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) == 0) eax = ebx = ecx = edx = 0;
  }
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
};

constexpr bool has_all(std::uint64_t bits, std::uint64_t wanted) {
  return (bits & wanted) == wanted;
}

constexpr std::uint64_t bit(unsigned n) { return std::uint64_t{1} << n; }

// Which registers the operating system saves.
std::uint64_t saved_state() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

// Linux gives tiles to processes that ask for them, as their state makes signal frames larger. It
// says no where a thread has an alternate stack for signals that would be too small.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM, from Linux 5.16 on
  constexpr long kTileData = 18;     // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

Isa find_best_isa() {
  constexpr std::uint64_t kFma = bit(12);
  constexpr std::uint64_t kPopcnt = bit(23);
  constexpr std::uint64_t kOsXsave = bit(27);
  constexpr std::uint64_t kAvx = bit(28);
  constexpr std::uint64_t kAvx2 = bit(5);
  constexpr std::uint64_t kAvx512 = bit(16) | bit(17) | bit(30) | bit(31);  // F, DQ, BW, VL
  constexpr std::uint64_t kVnni = bit(11);
  constexpr std::uint64_t kBf16 = bit(5);
  constexpr std::uint64_t kYmmState = bit(1) | bit(2);
  constexpr std::uint64_t kZmmState = kYmmState | bit(5) | bit(6) | bit(7);
  constexpr std::uint64_t kAmx = bit(22) | bit(24) | bit(25);  // BF16, TILE, INT8
  constexpr std::uint64_t kTileState = bit(17) | bit(18);

  if (!has_all(CpuidLeaf(1, 0).ecx, kFma | kPopcnt | kOsXsave | kAvx)) return Isa::kScalar;
  const std::uint64_t state = saved_state();
  const CpuidLeaf features(7, 0);
  if (!has_all(features.ebx, kAvx2) || !has_all(state, kYmmState)) return Isa::kScalar;
  if (!has_all(features.ebx, kAvx512) || !has_all(state, kZmmState)) return Isa::kAvx2;
  if (!has_all(features.ecx, kVnni)) return Isa::kAvx512;
  const bool bf16 = features.eax >= 1 && has_all(CpuidLeaf(7, 1).eax, kBf16);
  const bool amx = bf16 && has_all(features.edx, kAmx) && has_all(state, kTileState);
  return amx && may_use_tiles() ? Isa::kAmx : Isa::kAvx512Vnni;
}

#else

Isa find_best_isa() { return Isa::kScalar; }

#endif

}  // namespace

Isa best_isa() noexcept {
  static const Isa kBest = find_best_isa();
  return kBest;
}

bool is_supported(Isa isa) noexcept { return isa <= best_isa(); }

const Kernels& kernels(Isa isa) noexcept {
#if defined(__x86_64__)
  const Isa best = best_isa();
  switch (isa < best ? isa : best) {
    case Isa::kScalar:
      break;
    case Isa::kAvx2:
      return avx2::table();
    case Isa::kAvx512:
      return avx512::table();
    case Isa::kAvx512Vnni:
      return avx512_vnni::table();
    case Isa::kAmx:
      return amx::table();
  }
#else
  static_cast<void>(isa);
#endif
  return scalar::table();
}

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512_vnni";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

bool parse_isa(const char* name, Isa& isa) noexcept {
  for (const Isa candidate : kAll) {
    if (std::strcmp(name, isa_name(candidate)) == 0) {
      isa = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace fastprop::kernels
