// kernels_test ISA SUITE: runs one suite on one instruction set. Exit code 0: passed, 1: failed,
// 77: this processor does not have it.

#include <cstdio>
#include <cstring>

#include "fastprop/kernels/isa.hpp"
#include "testing.hpp"

namespace {

using namespace fastprop::kernels;

const Kernels* find_table(Isa isa) {
#if defined(FASTPROP_SIMDE)
  if (isa == Isa::kAvx512) return &avx512::table();
  if (isa == Isa::kAvx512Vnni) return &avx512_vnni::table();
  if (isa == Isa::kAmx) return &amx::table();
#endif
  return is_supported(isa) ? &kernels(isa) : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  Isa isa = Isa::kScalar;
  if (argc < 3 || !parse_isa(argv[1], isa)) {
    std::printf("usage: kernels_test scalar|avx2|avx512|avx512_vnni|amx SUITE\n");
    return 2;
  }
  const Kernels* const table = find_table(isa);
  if (table == nullptr) return 77;
  CHECK(table->isa == isa, "table of %s is of %s", argv[1], isa_name(table->isa));

  const char* const suite = argv[2];
  if (std::strcmp(suite, "math") == 0) {
    testing::test_math(*table, false);
  } else if (std::strcmp(suite, "math-exhaustive") == 0) {
    testing::test_math(*table, true);
  } else if (std::strcmp(suite, "sparse") == 0) {
    testing::test_sparse(*table);
  } else if (std::strcmp(suite, "dense") == 0) {
    testing::test_dense(*table);
  } else if (std::strcmp(suite, "dense_int8") == 0) {
    testing::test_dense_int8(*table);
  } else if (std::strcmp(suite, "top_k") == 0) {
    testing::test_top_k(*table);
  } else if (std::strcmp(suite, "check_csr") == 0) {
    testing::test_check_csr(*table);
  } else if (std::strcmp(suite, "pack") == 0) {
    testing::test_pack();
    testing::test_pack_int8();
  } else {
    std::printf("no suite %s\n", suite);
    return 2;
  }
  if (testing::failures > 0) std::printf("%d failures\n", testing::failures);
  return testing::failures == 0 ? 0 : 1;
}
