// Times the kernels of one instruction set on one thread, beside what the machine can do: fused
// multiply-adds a second, and bytes a second of random weight rows. See README.md.

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fastprop/kernels/kernels.hpp"

namespace {

using namespace fastprop::kernels;

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

double time_budget = 0.4;  // seconds a case

// The shortest of many runs: on a shared machine the one least disturbed.
template <class Run>
double shortest(const Run& run) {
  double best = 1e300;
  const double end = seconds() + time_budget;
  run();
  do {
    const double start = seconds();
    run();
    best = std::min(best, seconds() - start);
  } while (seconds() < end);
  return best;
}

std::uint64_t state = 1;
double uniform() {
  std::uint64_t x = state += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}
float value() { return static_cast<float>(2 * uniform() - 1); }

// Page-aligned memory, in huge pages if asked and available.
template <class T>
class Memory {
 public:
  Memory(std::size_t n, bool huge = false) : bytes_((n * sizeof(T) + 0x1FFFFF) & ~0x1FFFFFUL) {
    void* p = mmap(nullptr, bytes_ + 0x200000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED) std::abort();
    const auto address = (reinterpret_cast<std::uintptr_t>(p) + 0x1FFFFF) & ~0x1FFFFFUL;
    data_ = reinterpret_cast<T*>(address);
    madvise(data_, bytes_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(static_cast<void*>(data_), 0, bytes_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { munmap(data_, bytes_); }
  T* data() { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

void require(bool condition, const char* what) {
  if (condition) return;
  std::printf("WRONG ANSWER: %s\n", what);
  std::exit(1);
}

#if defined(__x86_64__)
using V8 = float __attribute__((vector_size(32)));
__attribute__((target("avx2,fma"))) float fma_loop(std::size_t n) {
  V8 s[12];
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) s[i] = V8{} + static_cast<float>(i);
  V8 a = V8{} + 0.999F;
  V8 b = V8{} + 0.001F;
  for (std::size_t k = 0; k < n; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) {
      __asm__ volatile("vfmadd213ps %2, %1, %0" : "+x"(s[i]) : "x"(a), "x"(b));
    }
  }
  V8 sum = s[0];
#pragma GCC unroll 12
  for (int i = 1; i < 12; ++i) sum += s[i];
  return sum[0];
}

using V16 = float __attribute__((vector_size(64)));
__attribute__((target("avx512f"))) float fma_loop_512(std::size_t n) {
  V16 s[12];
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) s[i] = V16{} + static_cast<float>(i);
  V16 a = V16{} + 0.999F;
  V16 b = V16{} + 0.001F;
  for (std::size_t k = 0; k < n; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) {
      __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(s[i]) : "v"(a), "v"(b));
    }
  }
  V16 sum = s[0];
#pragma GCC unroll 12
  for (int i = 1; i < 12; ++i) sum += s[i];
  return sum[0];
}
#endif

double peak_gflops(Isa isa) {
  volatile float sink = 0;
  constexpr std::size_t kSteps = 200000;
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) {
    const double t = shortest([&] { sink = fma_loop_512(kSteps); });
    return kSteps * 12.0 * 32 / t / 1e9;
  }
  if (isa == Isa::kAvx2) {
    const double t = shortest([&] { sink = fma_loop(kSteps); });
    return kSteps * 12.0 * 16 / t / 1e9;
  }
#endif
  static_cast<void>(sink);
  return 0;
}

struct Workload {
  std::size_t features = 300000;
  std::size_t non_zeros = 200;
  std::size_t rows = 512;
  std::vector<std::int64_t> indptr;
  std::vector<std::int32_t> indices;
  std::vector<float> values;

  explicit Workload(double exponent, std::size_t rows_ = 512) : rows(rows_) {
    indptr.push_back(0);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t first = indices.size();
      for (std::size_t i = 0; i < non_zeros; ++i) {
        const double u = std::pow(uniform(), exponent);
        indices.push_back(static_cast<std::int32_t>(static_cast<double>(features) * u));
        values.push_back(value());
      }
      std::sort(indices.begin() + static_cast<std::ptrdiff_t>(first), indices.end());
      indptr.push_back(static_cast<std::int64_t>(indices.size()));
    }
  }
  CsrRows csr() const {
    CsrRows rows_view;
    rows_view.indptr = indptr.data();
    rows_view.indices = indices.data();
    rows_view.values = values.data();
    return rows_view;
  }
};

// Several batches, so that one batch's weight rows are not in cache because it has just been run.
void bench_sparse(const Kernels& kernels, double exponent, std::size_t width, WeightType type,
                  bool huge) {
  const bool half = type == WeightType::kBfloat16;
  std::vector<Workload> batches;
  for (int i = 0; i < 4; ++i) batches.emplace_back(exponent);
  const Workload& first = batches[0];
  Memory<float> weight(first.features * width, huge);
  for (std::size_t i = 0; i < first.features * width; ++i) {
    weight[i] = static_cast<float>(i % 1021) * 0.001F - 0.5F;
  }
  Memory<std::uint16_t> half_weight(half ? first.features * width : 1, huge);
  if (half) round_to_bf16(weight.data(), first.features * width, half_weight.data());
  std::vector<float> bias(width, 0.5F);
  std::vector<float> out(first.rows * width);
  SparseLayer layer;
  layer.weight = half ? static_cast<void*>(half_weight.data()) : weight.data();
  layer.weight_type = type;
  layer.weight_stride = width;
  layer.width = width;
  layer.bias = bias.data();
  layer.activation.kind = ActivationKind::kRelu;
  kernels.sparse_layer(layer, first.csr(), first.rows, out.data(), width);
  for (std::size_t r = 0; r < first.rows; r += 100) {
    double sum = 0.5;
    for (std::size_t i = 0; i < first.non_zeros; ++i) {
      const auto column = static_cast<std::size_t>(first.indices[r * first.non_zeros + i]);
      sum += double{first.values[r * first.non_zeros + i]} * double{weight[column * width + 7]};
    }
    require(std::fabs(std::max(sum, 0.0) - double{out[r * width + 7]}) < (half ? 0.1 : 1e-4),
            "sparse");
  }
  const double t = shortest([&] {
                     for (const Workload& batch : batches) {
                       kernels.sparse_layer(layer, batch.csr(), batch.rows, out.data(), width);
                     }
                   }) /
                   static_cast<double>(batches.size());
  const double bytes = static_cast<double>(first.indices.size() * width * (half ? 2 : 4));
  std::printf(
      "sparse u^%g width %4zu %s %s pages: %7.3f ms a batch of 512, %6.2f GB/s, %9.0f rows/s\n",
      exponent, width, half ? "bf16" : "f32 ", huge ? "huge" : "4 KB", t * 1e3, bytes / t / 1e9,
      static_cast<double>(first.rows) / t);
}

// So many rows that they share weight rows: row by row, and by ranges of columns.
void bench_ranges(const Kernels& kernels, double exponent, std::size_t rows) {
  constexpr std::size_t kWidth = 256;
  const Workload batch(exponent, rows);
  Memory<float> weight(batch.features * kWidth);
  for (std::size_t i = 0; i < batch.features * kWidth; ++i) {
    weight[i] = static_cast<float>(i % 1021) * 0.001F - 0.5F;
  }
  std::vector<float> out(rows * kWidth);
  std::vector<float> wanted(rows * kWidth);
  std::vector<std::uint64_t> positions(rows);
  SparseLayer layer;
  layer.weight = weight.data();
  layer.weight_stride = layer.width = kWidth;
  layer.activation.kind = ActivationKind::kRelu;
  const double by_row =
      shortest([&] { kernels.sparse_layer(layer, batch.csr(), rows, wanted.data(), kWidth); });
  const double by_range = shortest([&] {
    kernels.sparse_layer_by_ranges(layer, batch.csr(), rows, batch.features, positions.data(),
                                   out.data(), kWidth);
  });
  require(std::memcmp(out.data(), wanted.data(), out.size() * sizeof(float)) == 0, "ranges");
  const double n = static_cast<double>(rows);
  std::printf(
      "sparse u^%g width  256 f32, %5zu rows: %6.2f us a row, by ranges %6.2f (%.2f of it)\n",
      exponent, rows, by_row / n * 1e6, by_range / n * 1e6, by_range / by_row);
}

// What memory gives: the same rows, summed by nobody, only touched line by line with prefetch.
void bench_random_rows(double exponent, bool huge) {
  std::vector<Workload> batches;
  for (int i = 0; i < 4; ++i) batches.emplace_back(exponent);
  const Workload& first = batches[0];
  Memory<float> weight(first.features * 256, huge);
  volatile float sink = 0;
  const double t = shortest([&] {
                     float sum = 0;
                     for (const Workload& batch : batches) {
                       const std::size_t n = batch.indices.size();
                       for (std::size_t i = 0; i + 8 < n; ++i) {
                         const float* const ahead =
                             weight.data() + static_cast<std::size_t>(batch.indices[i + 8]) * 256;
                         const float* const row =
                             weight.data() + static_cast<std::size_t>(batch.indices[i]) * 256;
                         for (std::size_t j = 0; j < 256; j += 16) {
                           __builtin_prefetch(ahead + j);
                           sum += row[j];
                         }
                       }
                     }
                     sink = sum;
                   }) /
                   static_cast<double>(batches.size());
  const double bytes = static_cast<double>(first.indices.size()) * 1024;
  std::printf("random rows of 1 KB, u^%g, %s pages: %7.3f ms, %6.2f GB/s\n", exponent,
              huge ? "huge" : "4 KB", t * 1e3, bytes / t / 1e9);
}

struct Dense {
  Dense(std::size_t k, std::size_t n, WeightType type)
      : panels(packed_dense_bytes(type, k, n)), bias(n) {
    std::vector<float> weight(k * n);
    for (float& w : weight) w = value() * 0.1F;
    for (float& b : bias) b = value() - 2.0F;
    pack_dense(type, weight.data(), k, k, n, panels.data());
    layer.panels = panels.data();
    layer.inputs = k;
    layer.outputs = n;
    layer.bias = bias.data();
    layer.weight_type = type;
    first_row.assign(weight.begin(), weight.begin() + static_cast<std::ptrdiff_t>(k));
  }
  Memory<char> panels;
  std::vector<float> bias;
  std::vector<float> first_row;
  DenseLayer layer;
};

void bench_dense(const Kernels& kernels, double peak, std::size_t rows, std::size_t k,
                 std::size_t n, WeightType type, ActivationKind kind, bool streaming) {
  Dense dense(k, n, type);
  dense.layer.activation.kind = kind;
  Memory<float> input(rows * k);
  for (std::size_t i = 0; i < rows * k; ++i) input[i] = value();
  Memory<float> out(rows * n);
  DenseOutput output;
  output.data = out.data();
  output.stride = n;
  output.last_column = n;
  output.streaming = streaming;
  const std::size_t words = kernels.quantized_words(k);
  Memory<float> quantized(rows * words);
  const auto run = [&] {
    if (type != WeightType::kInt8) {
      kernels.dense(dense.layer, input.data(), k, rows, output);
      return;
    }
    kernels.quantize(input.data(), k, rows, k, quantized.data());
    kernels.dense(dense.layer, quantized.data(), words, rows, output);
  };
  const double t = shortest(run);
  for (std::size_t r = 0; r < rows; r += 50) {
    double sum = dense.bias[0];
    for (std::size_t i = 0; i < k; ++i) {
      sum += double{input[r * k + i]} * double{dense.first_row[i]};
    }
    if (kind == ActivationKind::kSigmoid) sum = 1 / (1 + std::exp(-sum));
    if (kind == ActivationKind::kRelu) sum = std::max(sum, 0.0);
    const double allowed = type == WeightType::kFloat32 ? 1e-4 : 0.1;
    require(std::fabs(sum - double{out[r * n]}) < allowed, "dense");
  }
  const double flops = 2.0 * static_cast<double>(rows * k * n);
  const double bytes = static_cast<double>(packed_dense_bytes(type, k, n));
  std::printf("dense %3zu x %4zu x %6zu %s %-8s %s: %9.2f us, %6.1f GFLOP/s", rows, k, n,
              type == WeightType::kFloat32    ? "f32 "
              : type == WeightType::kBfloat16 ? "bf16"
                                              : "int8",
              kind == ActivationKind::kSigmoid ? "sigmoid"
              : kind == ActivationKind::kRelu  ? "relu"
                                               : "-",
              streaming ? "streaming" : "cached   ", t * 1e6, flops / t / 1e9);
  if (peak > 0 && rows > 6) std::printf(" (%.0f %% of peak)", flops / t / 1e7 / peak);
  if (rows <= 6) std::printf(", %6.1f GB/s of weights", bytes / t / 1e9);
  std::printf("\n");
}

void bench_dense_top_k(const Kernels& kernels, std::size_t rows, std::size_t k, std::size_t n,
                       ActivationKind transform) {
  Dense dense(k, n, WeightType::kFloat32);
  Memory<float> input(rows * k);
  for (std::size_t i = 0; i < rows * k; ++i) input[i] = value();
  TopKRule rule;
  rule.k = 20;
  rule.transform = transform;
  std::vector<std::uint64_t> keys(rows * top_k_keys(rule.k));
  std::vector<TopKState> states(rows);
  std::vector<float> scores(rows * rule.k);
  std::vector<std::int32_t> indices(rows * rule.k);
  const double t = shortest([&] {
    for (std::size_t r = 0; r < rows; ++r) {
      states[r].keys = keys.data() + r * top_k_keys(rule.k);
      kernels.top_k_begin(rule, states[r]);
    }
    kernels.dense_top_k(dense.layer, input.data(), k, rows, 0, n, rule, states.data());
    for (std::size_t r = 0; r < rows; ++r) {
      kernels.top_k_finish(rule, states[r], scores.data() + r * rule.k,
                           indices.data() + r * rule.k);
    }
  });
  for (std::size_t r = 0; r < rows * rule.k; ++r) {
    require(r % rule.k == 0 || scores[r] <= scores[r - 1], "dense_top_k");
  }
  std::printf("dense_top_k %3zu x %4zu x %6zu, top 20 of %s: %9.2f us\n", rows, k, n,
              transform == ActivationKind::kSigmoid ? "sigmoids" : "logits  ", t * 1e6);
}

void bench_top_k(const Kernels& kernels, std::size_t n, std::size_t k) {
  constexpr std::size_t kRows = 64;
  Memory<float> scores(kRows * n);
  for (std::size_t i = 0; i < kRows * n; ++i) scores[i] = value();
  TopKRule rule;
  rule.k = k;
  std::vector<std::uint64_t> keys(top_k_keys(k));
  std::vector<float> out_scores(kRows * k);
  std::vector<std::int32_t> out_indices(kRows * k);
  const double t = shortest([&] {
    kernels.top_k(rule, scores.data(), n, kRows, n, keys.data(), out_scores.data(),
                  out_indices.data());
  });
  for (std::size_t r = 0; r < kRows; ++r) {
    require(
        out_scores[r * k] == *std::max_element(scores.data() + r * n, scores.data() + r * n + n),
        "top_k");
  }
  std::printf("top_k %5zu of %6zu: %8.3f us a row\n", k, n, t * 1e6 / kRows);
}

void bench_activate(const Kernels& kernels, ActivationKind kind, const char* name) {
  constexpr std::size_t kCount = 4096;
  std::vector<float> in(kCount);
  std::vector<float> out(kCount);
  for (float& x : in) x = value() * 5.0F;
  Activation activation;
  activation.kind = kind;
  activation.alpha = 0.25F;
  const double t = shortest([&] { kernels.activate(activation, in.data(), kCount, out.data()); });
  require(!std::isnan(out[kCount - 1]), name);
  std::printf("activate %-9s: %6.3f ns an element\n", name, t * 1e9 / kCount);
}

template <class Index, class Value>
void bench_check(const Kernels& kernels, const char* name, std::size_t n) {
  std::vector<Index> indices(n);
  std::vector<Value> values(n, Value{1});
  for (Index& index : indices) index = static_cast<Index>(uniform() * 300000);
  std::vector<std::int64_t> indptr(n / 200 + 1);
  for (std::size_t r = 0; r < indptr.size(); ++r) indptr[r] = static_cast<std::int64_t>(200 * r);
  CsrRows rows;
  rows.indptr = indptr.data();
  rows.indices = indices.data();
  rows.values = values.data();
  rows.index_type = sizeof(Index) == 4 ? IndexType::kInt32 : IndexType::kInt64;
  rows.value_type = sizeof(Value) == 4 ? ValueType::kFloat32 : ValueType::kFloat64;
  const auto check = [&] {
    return kernels.check_csr(rows, indptr.size() - 1, static_cast<std::int64_t>(n), 300000, true);
  };
  const double t = shortest([&] { require(check().fault == CsrFault::kNone, "check"); });
  indices[n / 200 * 200 - 1] = 300000;
  require(check().position == n / 200 * 200 - 1, "check");
  const double bytes = static_cast<double>(n * (sizeof(Index) + sizeof(Value)));
  std::printf("check_csr %s, %7zu non-zeros: %6.2f GB/s\n", name, n, bytes / t / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  Isa isa = best_isa();
  if (argc > 1 && !parse_isa(argv[1], isa)) {
    std::printf("usage: kernels_bench [scalar|avx2|avx512|avx512_vnni|amx] [CASE] [SECONDS]\n");
    return 2;
  }
  const std::string only = argc > 2 ? argv[2] : "all";
  if (argc > 3) time_budget = std::atof(argv[3]);
  const auto wanted = [&](const char* name) { return only == "all" || only == name; };
  const Kernels& table = kernels(isa);
  std::printf("instruction set: %s\n", isa_name(table.isa));

  double peak = 0;
  if (wanted("dense") || wanted("peak")) {
    peak = peak_gflops(table.isa);
    if (peak > 0) std::printf("fused multiply-adds in registers: %.1f GFLOP/s\n", peak);
  }
  const WeightType kinds[] = {WeightType::kFloat32, WeightType::kBfloat16};
  if (wanted("ranges")) {
    for (const double exponent : {3.0, 1.0}) {
      for (const std::size_t rows : {1024, 2048, 4096, 8192}) bench_ranges(table, exponent, rows);
    }
  }
  if (wanted("sparse")) {
    for (const double exponent : {3.0, 1.0}) {
      for (const bool huge : {false, true}) {
        bench_random_rows(exponent, huge);
        for (const WeightType type : kinds) bench_sparse(table, exponent, 256, type, huge);
      }
    }
    for (const std::size_t width : {16, 64, 100, 512}) {
      bench_sparse(table, 3.0, width, WeightType::kFloat32, false);
    }
  }
  if (wanted("dense")) {
    for (const WeightType type : {WeightType::kFloat32, WeightType::kBfloat16, WeightType::kInt8}) {
      bench_dense(table, peak, 512, 256, 128, type, ActivationKind::kRelu, false);
      bench_dense(table, peak, 512, 128, 3000, type, ActivationKind::kIdentity, false);
      bench_dense(table, peak, 512, 128, 3000, type, ActivationKind::kIdentity, true);
      bench_dense(table, peak, 512, 128, 3000, type, ActivationKind::kSigmoid, true);
    }
    bench_dense(table, peak, 512, 2048, 2048, kinds[0], ActivationKind::kIdentity, true);
    bench_dense(table, peak, 512, 128, 100000, kinds[0], ActivationKind::kIdentity, true);
    for (const std::size_t rows : {1, 2, 3, 4, 5, 6, 8, 16}) {
      bench_dense(table, peak, rows, 128, 3000, kinds[0], ActivationKind::kSigmoid, false);
    }
    bench_dense(table, peak, 1, 128, 3000, kinds[1], ActivationKind::kSigmoid, false);
    bench_dense(table, peak, 1, 128, 3000, WeightType::kInt8, ActivationKind::kSigmoid, false);
    bench_dense(table, peak, 1, 256, 128, kinds[0], ActivationKind::kRelu, false);
  }
  if (wanted("top_k")) {
    bench_top_k(table, 3000, 20);
    bench_top_k(table, 10000, 20);
    bench_top_k(table, 3000, 200);
    bench_top_k(table, 3000, 3000);
    for (const std::size_t n : {3000, 10000}) {
      bench_dense_top_k(table, 512, 128, n, ActivationKind::kIdentity);
      bench_dense_top_k(table, 512, 128, n, ActivationKind::kSigmoid);
      bench_dense(table, 0, 512, 128, n, kinds[0], ActivationKind::kIdentity, false);
      bench_dense(table, 0, 512, 128, n, kinds[0], ActivationKind::kSigmoid, true);
    }
  }
  if (wanted("math")) {
    bench_activate(table, ActivationKind::kRelu, "relu");
    bench_activate(table, ActivationKind::kSigmoid, "sigmoid");
    bench_activate(table, ActivationKind::kTanh, "tanh");
    bench_activate(table, ActivationKind::kExp, "exp");
    bench_activate(table, ActivationKind::kSoftRelu, "softrelu");
    bench_activate(table, ActivationKind::kElu, "elu");
    bench_activate(table, ActivationKind::kGelu, "gelu");
  }
  if (wanted("check")) {
    bench_check<std::int32_t, float>(table, "int32 float32", 102400);
    bench_check<std::int64_t, float>(table, "int64 float32", 102400);
    bench_check<std::int32_t, double>(table, "int32 float64", 102400);
    bench_check<std::int64_t, double>(table, "int64 float64", 102400);
    bench_check<std::int32_t, float>(table, "int32 float32", 20000000);
  }
  return 0;
}
