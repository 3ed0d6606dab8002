// What the kernel tests share: checks that count, random numbers that repeat, and memory that
// faults one byte past its end.

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "fastprop/kernels/kernels.hpp"

namespace testing {

using namespace fastprop::kernels;

inline int failures = 0;

#define CHECK(condition, ...)                                     \
  do {                                                            \
    if (!(condition) && ++testing::failures <= 20) {              \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (false)

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    std::uint64_t x = state_ += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
  bool coin() { return (bits() & 1U) != 0; }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  float value(double scale = 1.0) { return static_cast<float>((2.0 * uniform() - 1.0) * scale); }

 private:
  std::uint64_t state_;
};

// n elements that end where a page without access begins, so that reading on is fatal.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t n) : n_(n) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t used = (n * sizeof(T) + page - 1) / page * page + page;
    bytes_ = used + page;
    memory_ = static_cast<char*>(
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + used, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(memory_ + used) - n;
  }
  ~Guarded() { munmap(memory_, bytes_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  std::size_t size() const { return n_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  char* memory_ = nullptr;
  std::size_t bytes_ = 0;
  T* data_ = nullptr;
  std::size_t n_ = 0;
};

inline float from_bf16(std::uint16_t x) {
  const std::uint32_t bits = std::uint32_t{x} << 16;
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float through_bf16(float x) {
  std::uint16_t half = 0;
  round_to_bf16(&x, 1, &half);
  return from_bf16(half);
}

inline bool same_bits(const float* a, const float* b, std::size_t n) {
  return n == 0 || std::memcmp(a, b, n * sizeof(float)) == 0;
}

// f(x) in double precision.
double exact(const Activation& activation, double x, std::size_t column);

void test_math(const Kernels& kernels, bool every_float);
void test_sparse(const Kernels& kernels);
void test_dense(const Kernels& kernels);
void test_dense_int8(const Kernels& kernels);
void test_top_k(const Kernels& kernels);
void test_check_csr(const Kernels& kernels);
void test_pack();
void test_pack_int8();

}  // namespace testing
