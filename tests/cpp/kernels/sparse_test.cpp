// The sparse layer against double precision: every width to 130 and some beyond, every type of
// index, value, weight and row map, empty and very long rows, duplicates, views at odd addresses.

#include <algorithm>

#include "testing.hpp"

namespace testing {
namespace {

template <class T>
void put(std::vector<char>& bytes, T x) {
  const char* const from = reinterpret_cast<const char*>(&x);
  bytes.insert(bytes.end(), from, from + sizeof x);
}

struct Element {
  std::size_t column;
  double value;
};

struct Problem {
  std::vector<std::vector<Element>> rows;
  std::vector<char> indptr;
  std::vector<char> indices;
  std::vector<char> values;
  CsrRows csr;
};

std::size_t random_length(Random& random) {
  switch (random.below(8)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return random.below(20) == 0 ? 500 + random.below(800) : 40;
    default:
      return random.below(30);
  }
}

void make_rows(Random& random, std::size_t n_rows, std::size_t n_columns, Problem& problem,
               std::size_t length_factor = 1, bool sorted = false) {
  CsrRows& csr = problem.csr;
  csr.indptr_type = random.coin() ? IndexType::kInt32 : IndexType::kInt64;
  csr.index_type = random.coin() ? IndexType::kInt32 : IndexType::kInt64;
  csr.value_type = random.coin() ? ValueType::kFloat32 : ValueType::kFloat64;
  const bool ones = random.below(8) == 0;
  std::size_t position = random.below(3);  // the slice need not begin at element 0
  for (std::size_t i = 0; i < position; ++i) {
    put(problem.indices, std::int64_t{-1});
    put(problem.values, std::nan(""));
  }
  problem.indices.resize(position * (csr.index_type == IndexType::kInt32 ? 4 : 8));
  problem.values.resize(position * (csr.value_type == ValueType::kFloat32 ? 4 : 8));
  for (std::size_t r = 0; r <= n_rows; ++r) {
    if (csr.indptr_type == IndexType::kInt32) {
      put(problem.indptr, static_cast<std::int32_t>(position));
    } else {
      put(problem.indptr, static_cast<std::int64_t>(position));
    }
    if (r == n_rows) break;
    std::vector<Element> row(random_length(random) * (1 + random.below(length_factor)));
    for (Element& element : row) element.column = random.below(n_columns);
    if (sorted) {
      std::sort(row.begin(), row.end(),
                [](const Element& a, const Element& b) { return a.column < b.column; });
    }
    for (Element& element : row) {
      element.value = 2.0 * random.uniform() - 1.0;
      if (csr.index_type == IndexType::kInt32) {
        put(problem.indices, static_cast<std::int32_t>(element.column));
      } else {
        put(problem.indices, static_cast<std::int64_t>(element.column));
      }
      if (csr.value_type == ValueType::kFloat32) {
        put(problem.values, static_cast<float>(element.value));
      } else {
        put(problem.values, element.value);
      }
      element.value = ones ? 1.0 : double{static_cast<float>(element.value)};
    }
    position += row.size();
    problem.rows.push_back(row);
  }
  csr.indptr = problem.indptr.data();
  csr.indices = problem.indices.data();
  csr.values = ones ? nullptr : problem.values.data();
}

void check_layer(const Kernels& kernels, Random& random, std::size_t width) {
  const std::size_t n_columns = 1 + random.below(60);
  const std::size_t n_rows = random.below(7);
  Problem problem;
  make_rows(random, n_rows, n_columns, problem);

  // Row map: some columns stored, some not.
  const unsigned map = static_cast<unsigned>(random.below(3));
  std::vector<std::int64_t> row_of_column(n_columns);
  std::size_t n_stored = 0;
  for (std::int64_t& row : row_of_column) {
    row = map != 0 && random.coin() ? -1 - std::int64_t(random.below(2)) : std::int64_t(n_stored++);
  }
  std::vector<std::int32_t> narrow_map(row_of_column.begin(), row_of_column.end());

  SparseLayer layer;
  layer.width = width;
  layer.weight_stride = width + (random.coin() ? 0 : random.below(5));
  layer.weight_type = random.coin() ? WeightType::kFloat32 : WeightType::kBfloat16;
  if (map == 1) layer.row_of_column = narrow_map.data();
  if (map == 2) layer.row_of_column = row_of_column.data();
  layer.row_of_column_type = map == 1 ? IndexType::kInt32 : IndexType::kInt64;
  constexpr ActivationKind kKinds[] = {ActivationKind::kIdentity, ActivationKind::kRelu,
                                       ActivationKind::kSigmoid, ActivationKind::kTanh};
  layer.activation.kind = kKinds[random.below(4)];

  // The last stored row ends where memory does.
  const std::size_t size = n_stored == 0 ? 0 : (n_stored - 1) * layer.weight_stride + width;
  Guarded<float> weight(size);
  Guarded<std::uint16_t> half_weight(size);
  for (std::size_t i = 0; i < size; ++i) weight[i] = random.value();
  round_to_bf16(weight.data(), size, half_weight.data());
  const bool half = layer.weight_type == WeightType::kBfloat16;
  if (half) {
    for (std::size_t i = 0; i < size; ++i) weight[i] = from_bf16(half_weight[i]);
    layer.weight = half_weight.data();
  } else {
    layer.weight = weight.data();
  }
  Guarded<float> bias(width);
  for (std::size_t i = 0; i < width; ++i) bias[i] = random.value();
  if (random.below(4) != 0) layer.bias = bias.data();

  const std::size_t stride = width + random.below(4);
  constexpr float kUntouched = 12345.0F;
  std::vector<float> memory(n_rows * stride + 8, kUntouched);
  float* const out = memory.data() + random.below(4);
  kernels.sparse_layer(layer, problem.csr, n_rows, out, stride);

  std::vector<float> alone(width);
  for (std::size_t r = 0; r < n_rows; ++r) {
    for (std::size_t j = 0; j < width; ++j) {
      double sum = layer.bias != nullptr ? double{bias[j]} : 0.0;
      double size_of_terms = std::fabs(sum);
      for (const Element& element : problem.rows[r]) {
        const std::int64_t row = row_of_column[element.column];
        if (row < 0) continue;
        const double term =
            element.value * double{weight[static_cast<std::size_t>(row) * layer.weight_stride + j]};
        sum += term;
        size_of_terms += std::fabs(term);
      }
      const double wanted = exact(layer.activation, sum, j);
      const double allowed =
          6e-8 * size_of_terms * (2.0 + std::sqrt(double(problem.rows[r].size()))) + 3e-7;
      const double error = std::fabs(double{out[r * stride + j]} - wanted);
      CHECK(error <= allowed, "width %zu row %zu column %zu: %g, not %g", width, r, j,
            out[r * stride + j], wanted);
    }
    CsrRows one = problem.csr;
    one.indptr =
        static_cast<const char*>(one.indptr) + r * (one.indptr_type == IndexType::kInt32 ? 4 : 8);
    kernels.sparse_layer(layer, one, 1, alone.data(), width);
    CHECK(same_bits(alone.data(), out + r * stride, width), "width %zu: row %zu alone differs",
          width, r);
    for (std::size_t j = width; j < stride && r + 1 < n_rows; ++j) {
      CHECK(out[r * stride + j] == kUntouched, "width %zu: written past row %zu", width, r);
    }
  }
  const float* const end = n_rows == 0 ? out : out + (n_rows - 1) * stride + width;
  for (const float* p = end; p < memory.data() + memory.size(); ++p) {
    CHECK(*p == kUntouched, "width %zu: written past the end", width);
  }
}

// The sum is taken in the order of the elements.
void check_order(const Kernels& kernels) {
  const float weight[1] = {1.0F};
  const std::int32_t indices[4] = {0, 0, 0, 0};
  const float values[4] = {1e8F, 1.0F, -1e8F, 1.0F};
  const std::int64_t indptr[2] = {0, 4};
  SparseLayer layer;
  layer.weight = weight;
  layer.weight_stride = 1;
  layer.width = 1;
  CsrRows rows;
  rows.indptr = indptr;
  rows.indices = indices;
  rows.values = values;
  float out = 0;
  kernels.sparse_layer(layer, rows, 1, &out, 1);
  CHECK(out == 1.0F, "%g", out);
}

// Many rows by ranges of columns give the bits that they give row by row.
void check_ranges(const Kernels& kernels, Random& random, std::size_t width,
                  std::size_t n_columns) {
  Problem problem;
  const std::size_t n_rows = random.below(30);
  make_rows(random, n_rows, n_columns, problem, 40, random.below(4) != 0);
  std::vector<std::int32_t> row_of_column(n_columns);
  for (std::int32_t& row : row_of_column) row = static_cast<std::int32_t>(random.below(65)) - 1;
  SparseLayer layer;
  layer.width = layer.weight_stride = width;
  layer.weight_type = random.coin() ? WeightType::kFloat32 : WeightType::kBfloat16;
  layer.row_of_column = row_of_column.data();
  layer.activation.kind = random.coin() ? ActivationKind::kRelu : ActivationKind::kIdentity;
  Guarded<float> weight(64 * width);
  Guarded<std::uint16_t> half_weight(64 * width);
  for (std::size_t i = 0; i < 64 * width; ++i) weight[i] = random.value();
  round_to_bf16(weight.data(), 64 * width, half_weight.data());
  layer.weight = weight.data();
  if (layer.weight_type == WeightType::kBfloat16) layer.weight = half_weight.data();
  Guarded<float> bias(width);
  for (std::size_t i = 0; i < width; ++i) bias[i] = random.value();
  if (random.below(4) != 0) layer.bias = bias.data();

  const std::size_t stride = width + random.below(4);
  constexpr float kUntouched = 12345.0F;
  std::vector<float> wanted(n_rows * stride, kUntouched);
  std::vector<float> out(n_rows * stride, kUntouched);
  Guarded<std::uint64_t> positions(n_rows);
  kernels.sparse_layer(layer, problem.csr, n_rows, wanted.data(), stride);
  kernels.sparse_layer_by_ranges(layer, problem.csr, n_rows, n_columns, positions.data(),
                                 out.data(), stride);
  CHECK(same_bits(out.data(), wanted.data(), out.size()), "width %zu, %zu columns, %zu rows", width,
        n_columns, n_rows);
}

}  // namespace

void test_sparse(const Kernels& kernels) {
  Random random(3);
  for (std::size_t width = 0; width <= 130; ++width) {
    for (int round = 0; round < 12; ++round) check_layer(kernels, random, width);
  }
  constexpr std::size_t kWide[] = {191, 192, 256, 257, 300, 513, 1000, 2049};
  for (const std::size_t width : kWide) {
    for (int round = 0; round < 12; ++round) check_layer(kernels, random, width);
  }
  check_order(kernels);
  for (int round = 0; round < 8; ++round) {
    for (const std::size_t width : {1, 7, 100, 600, 2049}) {
      check_ranges(kernels, random, width, 1 + random.below(60000));
    }
    check_ranges(kernels, random, 16, 5000000);
  }
}

}  // namespace testing
