// Arbitrary CSR rows through the check and, where they pass, through the kernels that trust it:
// every instruction set of this machine has to find the same fault and give the same results.
// Arrays are of exactly the size that is stated, so that AddressSanitizer sees any step beyond.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fastprop/kernels/kernels.hpp"
#include "fastprop/predict/check.hpp"

namespace {

using namespace fastprop;
using kernels::CsrCheck;
using kernels::CsrFault;
using kernels::Isa;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

// Choices out of bytes; zeros where there are none left.
class Source {
 public:
  Source(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  void bytes(void* to, std::size_t n) {
    std::memset(to, 0, n);
    const std::size_t taken = n < left_ ? n : left_;
    if (taken != 0) std::memcpy(to, data_, taken);
    data_ += taken;
    left_ -= taken;
  }

  std::size_t number(std::size_t bound) {
    std::uint8_t value = 0;
    bytes(&value, 1);
    return value % bound;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// An array of n elements at the end of its memory: of the source's bytes, or of small numbers.
class Array {
 public:
  Array(Source& source, std::size_t n, std::size_t element) : data_(new std::uint8_t[n * element]) {
    const std::size_t form = source.number(4);
    if (form == 0) {
      source.bytes(data_.get(), n * element);
      return;
    }
    std::int64_t value = form == 1 ? 0 : static_cast<std::int64_t>(source.number(4)) - 1;
    for (std::size_t i = 0; i < n; ++i) {
      const auto step = static_cast<std::int64_t>(source.number(form == 3 ? 40 : 4));
      value = form == 3 ? step : value + step;
      std::memcpy(data_.get() + i * element, &value, element);
    }
  }

  const void* data() const { return data_.get(); }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
};

class Values {
 public:
  Values(Source& source, std::size_t n, ValueType type) {
    const std::size_t element = type == ValueType::kFloat32 ? 4 : 8;
    data_.reset(new std::uint8_t[n * element]);
    moderate_ = source.number(2) != 0;
    if (!moderate_) source.bytes(data_.get(), n * element);
    for (std::size_t i = 0; i < n && moderate_; ++i) {
      const double number = static_cast<double>(source.number(9)) - 4.0;
      const auto narrow = static_cast<float>(number);
      if (element == 4) std::memcpy(data_.get() + i * 4, &narrow, 4);
      if (element == 8) std::memcpy(data_.get() + i * 8, &number, 8);
    }
  }

  const void* data() const { return data_.get(); }
  // Whether sums of them are the same in any order, but for some rounding.
  bool moderate() const { return moderate_; }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  bool moderate_ = true;
};

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAmx};

bool close(float a, float b) {
  return std::fabs(a - b) <= 1e-3F * (1.0F + std::fmax(std::fabs(a), std::fabs(b)));
}

void run_kernels(Source& source, const CsrView& csr, bool moderate) {
  const auto n_rows = static_cast<std::size_t>(csr.n_rows);
  const std::size_t width = 1 + source.number(70);
  const auto columns = static_cast<std::size_t>(csr.n_columns);
  std::unique_ptr<float[]> weight(new float[columns * width]);
  for (std::size_t i = 0; i < columns * width; ++i) {
    weight[i] = static_cast<float>(i % 13) * 0.25F - 1.5F;
  }
  kernels::SparseLayer layer;
  layer.weight = weight.get();
  layer.weight_stride = width;
  layer.width = width;
  layer.activation.kind = kernels::ActivationKind::kRelu;
  const std::size_t k = 1 + source.number(9);

  std::vector<float> first;
  for (const Isa isa : kAll) {
    if (!kernels::is_supported(isa)) continue;
    const kernels::Kernels& table = kernels::kernels(isa);
    std::unique_ptr<float[]> out(new float[n_rows * width]);
    table.sparse_layer(layer, rows_from(csr, 0), n_rows, out.get(), width);
    if (first.empty()) first.assign(out.get(), out.get() + n_rows * width);
    for (std::size_t i = 0; moderate && i < n_rows * width; ++i) {
      if (!close(out[i], first[i])) fail("instruction sets differ in the sparse layer");
    }
    kernels::TopKRule rule;
    rule.k = k;
    std::unique_ptr<std::uint64_t[]> keys(new std::uint64_t[kernels::top_k_keys(k)]);
    std::unique_ptr<float[]> best(new float[n_rows * k]);
    std::unique_ptr<std::int32_t[]> labels(new std::int32_t[n_rows * k]);
    table.top_k(rule, out.get(), width, n_rows, width, keys.get(), best.get(), labels.get());
    for (std::size_t i = 0; i < n_rows * k; ++i) {
      const std::int32_t label = labels[i];
      if (label < -1 || label >= static_cast<std::int32_t>(width)) fail("a label out of range");
      if ((label < 0) != std::isnan(best[i])) fail("padding is -1 and NaN together");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Source source(data, size);
  const std::size_t n_rows = source.number(40);
  const std::size_t n_entries = source.number(200);
  CsrView csr;
  csr.n_columns = static_cast<std::int64_t>(source.number(60));
  csr.n_rows = static_cast<std::int64_t>(n_rows);
  csr.n_entries = static_cast<std::int64_t>(n_entries);
  csr.indptr.type = source.number(2) == 0 ? IndexType::kInt32 : IndexType::kInt64;
  csr.indices.type = source.number(2) == 0 ? IndexType::kInt32 : IndexType::kInt64;
  csr.values.type = source.number(2) == 0 ? ValueType::kFloat32 : ValueType::kFloat64;
  const bool finite = source.number(2) == 0;
  const Array indptr(source, n_rows + 1, csr.indptr.type == IndexType::kInt32 ? 4 : 8);
  const Array indices(source, n_entries, csr.indices.type == IndexType::kInt32 ? 4 : 8);
  const Values values(source, n_entries, csr.values.type);
  csr.indptr.data = indptr.data();
  csr.indices.data = indices.data();
  csr.values.data = values.data();

  const kernels::Kernels& scalar = kernels::kernels(Isa::kScalar);
  const CsrCheck wanted =
      scalar.check_csr(rows_from(csr, 0), n_rows, csr.n_entries, csr.n_columns, finite);
  for (const Isa isa : kAll) {
    if (!kernels::is_supported(isa)) continue;
    const CsrCheck found = kernels::kernels(isa).check_csr(rows_from(csr, 0), n_rows, csr.n_entries,
                                                           csr.n_columns, finite);
    if (found.fault != wanted.fault || found.position != wanted.position) {
      fail("instruction sets differ in the check");
    }
  }
  // The message reads the arrays at the place of the fault.
  const RowsView view = csr;
  const std::vector<DenseView> further;
  const Tile tile{view, further, 0, csr.n_rows};
  CheckOptions options;
  options.finite = finite;
  options.first_row = static_cast<std::int64_t>(source.number(3));
  const auto message = find_fault(tile, {}, options, scalar);
  if (message.has_value() != (wanted.fault != CsrFault::kNone)) fail("a fault without a message");
  if (!message) run_kernels(source, csr, values.moderate());
  return 0;
}
