// The engine that runs a graph through MXNet's C API, whole or behind our own sparse input layer.
// Owns the symbol and one set of parameters; borrowed parameters stay the caller's, kept alive by
// `owner`. Sessions own executors, one per batch bucket, bound when first needed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastprop/mxnet/ndarray.hpp"
#include "fastprop/predict/engine.hpp"

namespace fastprop {

struct MxnetParameter {
  // kBorrow is for what the graph only reads; MXNet's other operators may write to their weights.
  enum class Mode { kCopy, kBorrow, kFullRowSparse };

  std::string name;
  Mode mode = Mode::kCopy;
  mxnet::DType dtype = mxnet::DType::kFloat32;
  mxnet::Shape shape;
  const void* data = nullptr;
};

struct MxnetInput {
  std::string name;
  bool sparse = false;
  mxnet::Shape row_shape;  // without the batch axis
};

struct ScoreColumn {
  std::int64_t head = 0;
  std::int64_t column = 0;
};

struct MxnetSpec {
  std::string symbol_json;
  std::vector<MxnetParameter> arguments;
  std::vector<MxnetParameter> auxiliary;
  std::vector<MxnetInput> inputs;         // the rows first, then the further inputs
  std::vector<MxnetInput> zero_inputs;    // labels and the like: shape known, value irrelevant
  std::vector<std::int64_t> head_widths;  // per row; empty: not known yet, for head_shapes only
  std::vector<ScoreColumn> columns;       // of the score matrix; empty: the heads side by side
  bool canonical_rows = false;            // see mxnet::CsrArray::fill
  // Set: the rows go through this layer, and its output is what inputs[0] of the graph takes.
  std::optional<kernels::SparseLayer> sparse_layer;
  std::int64_t n_features = 0;  // columns of the rows when sparse_layer is set
  kernels::Isa isa = kernels::Isa::kScalar;
  std::shared_ptr<const void> owner;
};

class MxnetEngine : public Engine, public std::enable_shared_from_this<MxnetEngine> {
 public:
  // Loads the graph on a worker. Throws kModelFormat where spec and symbol disagree, kEngine where
  // MXNet refuses.
  static std::shared_ptr<MxnetEngine> create(MxnetSpec spec);
  ~MxnetEngine() override;

  std::unique_ptr<Session> open_session(std::int64_t max_rows,
                                        std::shared_ptr<BufferPool> pool) override;
  RowsSpec rows() const override;
  const std::vector<FurtherSpec>& further() const override { return further_; }
  std::int64_t n_scores() const override;
  // What MXNet makes of the graph for `batch` rows: for operators that we have no shape rule for.
  std::vector<mxnet::Shape> head_shapes(std::int64_t batch);

 private:
  friend class MxnetSession;
  struct Handles;

  explicit MxnetEngine(MxnetSpec spec);
  void load();

  MxnetSpec spec_;
  std::vector<FurtherSpec> further_;
  std::unique_ptr<Handles> handles_;
};

}  // namespace fastprop
