// The arithmetic of a scorer: sparse input layer, dense layers, activations, softmax, top-k
// selection and the CSR check, each for several instruction sets.
//
// Take `kernels(best_isa())` once and call through the table. A kernel takes raw pointers and
// sizes, allocates nothing, throws nothing, keeps no state, and may run on any number of threads
// at once. Pointers need their type's natural alignment only; sizes may be zero. Nothing outside
// the stated ranges is read or written. Kernels trust their input: indices are checked before, by
// `check_csr`. For one instruction set an output has the same bits whatever the number of rows in
// the call and whatever its place among them. bf16 is stored as the upper half of a float.
// Cost and accuracy stand with each kernel.

#pragma once

#include <cstddef>
#include <cstdint>

namespace fastprop::kernels {

enum class Isa : std::uint8_t {
  kScalar,      // the compiler's baseline, on every processor
  kAvx2,        // AVX2 + FMA
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  // AVX-512 as above, and dense layers with int8 weights by VNNI dot products
  kAmx,         // VNNI as above, and dense layers with bf16 or int8 weights on AMX's tiles
};

enum class IndexType : std::uint8_t { kInt32, kInt64 };
enum class ValueType : std::uint8_t { kFloat32, kFloat64 };
enum class WeightType : std::uint8_t { kFloat32, kBfloat16, kInt8 };  // kInt8: dense layers only

// f(x), as MXNet 1.9.1 defines it. NaN stays NaN. See `activate` for the accuracy.
enum class ActivationKind : std::uint8_t {
  kIdentity,     // x
  kRelu,         // max(x, 0)
  kSigmoid,      // 1 / (1 + exp(-x))
  kTanh,         // tanh(x)
  kSoftRelu,     // log(1 + exp(x))
  kSoftSign,     // x / (1 + |x|)
  kLeakyRelu,    // x > 0 ? x : alpha x
  kPRelu,        // x > 0 ? x : slopes[column] x
  kElu,          // x > 0 ? x : alpha (exp(x) - 1)
  kSelu,         // 1.0507.. (x > 0 ? x : 1.6732.. (exp(x) - 1))
  kGelu,         // x / 2 (1 + erf(x / sqrt(2)))
  kHardSigmoid,  // min(1, max(0, alpha x + beta))
  kExp,          // exp(x)
  kErf,          // erf(x)
};

struct Activation {
  ActivationKind kind = ActivationKind::kIdentity;
  float alpha = 0.0F;
  float beta = 0.0F;
  const float* slopes = nullptr;  // kPRelu only: one per column of the layer
};

// Rows of a CSR matrix: row r has the elements [indptr[r], indptr[r + 1]) of indices and values.
// For a slice of rows move `indptr` on; indices and values stay where they are.
struct CsrRows {
  const void* indptr = nullptr;
  const void* indices = nullptr;
  const void* values = nullptr;  // nullptr: every value is 1
  IndexType indptr_type = IndexType::kInt64;
  IndexType index_type = IndexType::kInt32;
  ValueType value_type = ValueType::kFloat32;
};

struct SparseLayer {
  const void* weight = nullptr;   // one row of `width` elements per column of the CSR matrix
  std::size_t weight_stride = 0;  // elements from one weight row to the next
  std::size_t width = 0;
  const float* bias = nullptr;          // width; nullptr: zero
  const void* row_of_column = nullptr;  // the stored row of each column, below zero: all zeros;
                                        // nullptr: row = column
  WeightType weight_type = WeightType::kFloat32;
  IndexType row_of_column_type = IndexType::kInt32;
  Activation activation;
};

// Columns of a dense layer are packed in panels of this many; the form is the same for every
// instruction set, so that packed parameters can be stored and shared.
//   float32: panel[k][16].  bf16: panel[(k + 1) / 2][16][2], the pairs being neighbours along k.
//   int8: 16 floats, the steps of the columns; 16 int32, the sums of their weights; and
//   panel[(k + 3) / 4][16][4], whole steps from -127 to 127.
// Columns past n and k past the last are zeros. Panels follow each other without a gap.
inline constexpr std::size_t kPanelColumns = 16;

// The most inputs of an int8 layer, so that sums of 255 * 127 * inputs fit 32 bits.
inline constexpr std::size_t kMaxInt8Inputs = 65536;

// A float32 layer's weights once more, for `dense_top_k`: rough products with these, whose error is
// bounded, leave few columns of a row that can be among its best, and only those are multiplied as
// `dense` does it. A rough sum is off by no more than per_input * |x| + per_rounding * |x - x'| +
// fixed, x being the row, x' the same rounded to bf16, and |.| the Euclidean norm.
struct DenseScreen {
  const void* panels = nullptr;   // bf16, as `pack_dense` makes them
  const float* weight = nullptr;  // row-major, outputs x inputs
  float per_input = 0.0F;
  float per_rounding = 0.0F;
  float fixed = 0.0F;
};

struct DenseLayer {
  const void* panels = nullptr;  // from `pack_dense`; 64-byte alignment is faster, not required
  std::size_t inputs = 0;        // k
  std::size_t outputs = 0;       // n
  const float* bias = nullptr;   // n; nullptr: zero
  WeightType weight_type = WeightType::kFloat32;
  Activation activation;
  const DenseScreen* screen = nullptr;  // for `dense_top_k`, where `uses_screens`
};

// A call computes the columns [first_column, last_column) of the layer and writes nothing else;
// first_column is a multiple of kPanelColumns. Column c of row r goes to out[r * stride + c].
struct DenseOutput {
  float* data = nullptr;  // address of row 0, column 0 of the whole output
  std::size_t stride = 0;
  std::size_t first_column = 0;
  std::size_t last_column = 0;
  bool streaming = false;  // write past the caches: for output that nobody here reads soon
};

// What to select from a row of scores: the k highest, in descending order, equal scores by
// ascending column; of the columns whose score is >= threshold and >= thresholds[column] and whose
// allowed[column] is not 0. NaN is never selected. -0 counts as +0, and is given as +0.
// With kSigmoid (the other choice is kIdentity) the input is logits, and what is compared and
// given is their sigmoid, bit for bit as if `activate` had been called first; it is evaluated only
// where it can matter.
struct TopKRule {
  std::size_t k = 0;
  float threshold = 0.0F;
  bool has_threshold = false;
  const float* thresholds = nullptr;      // one per column
  const std::uint8_t* allowed = nullptr;  // one per column
  ActivationKind transform = ActivationKind::kIdentity;
};

// The running selection of one row. `keys` is the caller's, `top_k_keys(k)` elements: first, of a k
// that is not too large, inputs as they were met, then the best by score.
struct TopKState {
  std::uint64_t* keys = nullptr;
  std::size_t count = 0;
  float floor = 0.0F;
  float slack = 0.0F;  // by which inputs may be off; above zero only while a screen is looked at
  bool gathers = false;
};

inline constexpr std::size_t kMaxGatheredK = 1024;
inline constexpr std::size_t kGatherStep = 64;  // inputs that are compared with the floor at once

constexpr std::size_t top_k_keys(std::size_t k) noexcept {
  return k > kMaxGatheredK ? k : k + (k < 32 ? 32 : k) + kGatherStep;
}

enum class CsrFault : std::uint8_t {
  kNone,
  kIndptrStart,  // indptr[0] < 0                                  position 0
  kIndptrOrder,  // indptr[position] < indptr[position - 1]
  kIndptrEnd,    // indptr[n_rows] > nnz                           position n_rows
  kIndexRange,   // indices[position] < 0 or >= n_columns
  kValueFinite,  // values[position] is NaN or, as float32, infinite
};

struct CsrCheck {
  CsrFault fault = CsrFault::kNone;
  std::size_t position = 0;
};

struct Kernels {
  Isa isa;

  // out[r * out_stride + j] = activation(bias[j] + sum of value * weight[row][j]), added in the
  // order of the row's elements, duplicates as they come; fused multiply-add except in kScalar.
  // float64 values are rounded to float32 first. Bound by reading the weight rows.
  void (*sparse_layer)(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows,
                       float* out, std::size_t out_stride) noexcept;

  // The same to the same bits, for so many rows that they share weight rows: range of columns by
  // range of columns, each range's weight rows staying in the shared cache. Columns are below
  // n_columns. positions: scratch, n_rows elements.
  void (*sparse_layer_by_ranges)(const SparseLayer& layer, const CsrRows& rows, std::size_t n_rows,
                                 std::size_t n_columns, std::uint64_t* positions, float* out,
                                 std::size_t out_stride) noexcept;

  // out = activation(input x W^T + bias). Each element starts from its bias and adds the products
  // in the order of k, so that it has the same bits for any number of rows and any split of
  // columns. Where the weights are bf16, kAmx takes the input as the sum of two bf16. input:
  // row-major, not overlapping the output. Where the weights are int8: what `quantize` made,
  // input_stride being its words; then identity and relu have the same bits in every instruction
  // set.
  void (*dense)(const DenseLayer& layer, const float* input, std::size_t input_stride,
                std::size_t n_rows, const DenseOutput& output) noexcept;

  // `dense` whose scores go to the states (one per row, begun before) instead of memory: columns
  // [first_column, last_column). The layer's activation must be kIdentity; rule.transform applies.
  // With a screen the call is for all columns, the states have seen nothing, and the rule has no
  // thresholds by column; the selection is the same.
  void (*dense_top_k)(const DenseLayer& layer, const float* input, std::size_t input_stride,
                      std::size_t n_rows, std::size_t first_column, std::size_t last_column,
                      const TopKRule& rule, TopKState* states) noexcept;

  // The input of a layer with int8 weights: each row in whole steps of (greatest - least) / 254, 0
  // being taken into both, in a form of the instruction set's own; `quantized_words(inputs)` 32-bit
  // words a row, one after the other. A row with NaN or infinity makes all of its outputs NaN.
  std::size_t (*quantized_words)(std::size_t inputs) noexcept;
  void (*quantize)(const float* in, std::size_t stride, std::size_t n_rows, std::size_t inputs,
                   float* out) noexcept;

  // out[i] = f(in[i]); `out` may be `in`. For kPRelu slopes[i] goes with in[i].
  // Errors, measured, in units in the last place: exp 1.1, tanh 1.6, erf 1.9, sigmoid 2.4, softrelu
  // 2.7; the rest in body/math.inl.
  void (*activate)(const Activation& activation, const float* in, std::size_t n,
                   float* out) noexcept;

  // In place: softmax within each of n_groups groups of neighbouring columns of every row.
  // Group g is the columns [offsets[g], offsets[g + 1]).
  void (*softmax)(float* data, std::size_t stride, std::size_t n_rows, const std::int32_t* offsets,
                  std::size_t n_groups) noexcept;

  // The whole selection of n_rows rows of n scores. Row r fills out_scores[r * k ...] and
  // out_indices[r * k ...]; what is not selected is NaN and -1. `keys` is scratch,
  // top_k_keys(k) elements. k >= 1; n < 2^31.
  void (*top_k)(const TopKRule& rule, const float* scores, std::size_t stride, std::size_t n_rows,
                std::size_t n, std::uint64_t* keys, float* out_scores,
                std::int32_t* out_indices) noexcept;

  // The same in parts: begin; update with the columns [first_column, first_column + n) of the row,
  // blocks in ascending order of columns; finish, which writes k results and ends the state.
  void (*top_k_begin)(const TopKRule& rule, TopKState& state) noexcept;
  void (*top_k_update)(const TopKRule& rule, const float* scores, std::size_t n,
                       std::size_t first_column, TopKState& state) noexcept;
  void (*top_k_finish)(const TopKRule& rule, TopKState& state, float* out_scores,
                       std::int32_t* out_indices) noexcept;

  // Checks indptr (n_rows + 1 entries, into nnz elements), then every element of these rows. Gives
  // the first fault of indptr, else the fault of the lowest position (index before value).
  // `finite` false: values are not looked at.
  CsrCheck (*check_csr)(const CsrRows& rows, std::size_t n_rows, std::int64_t nnz,
                        std::int64_t n_columns, bool finite) noexcept;
};

// The best instruction set that this processor and operating system support.
Isa best_isa() noexcept;
bool is_supported(Isa isa) noexcept;
// An isa that is not supported, or not compiled in, gives the table of the next lower one.
const Kernels& kernels(Isa isa) noexcept;

const char* isa_name(Isa isa) noexcept;               // "scalar", "avx2", "avx512", ...
bool parse_isa(const char* name, Isa& isa) noexcept;  // false: no such name

// Bytes of a packed layer, and the packing of W: row-major, n rows of k, n x k float32. int8: each
// row in steps of its greatest magnitude / 127, to the nearest, ties to even; at most
// kMaxInt8Inputs inputs.
std::size_t packed_dense_bytes(WeightType type, std::size_t inputs, std::size_t outputs) noexcept;
void pack_dense(WeightType type, const float* weight, std::size_t weight_stride, std::size_t inputs,
                std::size_t outputs, void* panels) noexcept;

// Whether `dense_top_k` is faster with a screen, and the making of one from a float32 layer: panels
// are `packed_dense_bytes` of kBfloat16, weight is outputs * inputs floats.
constexpr bool uses_screens(Isa isa) noexcept { return isa == Isa::kAmx; }
DenseScreen make_screen(const DenseLayer& layer, void* panels, float* weight) noexcept;

// To the nearest bf16, ties to even; NaN stays NaN.
void round_to_bf16(const float* in, std::size_t n, std::uint16_t* out) noexcept;

}  // namespace fastprop::kernels
