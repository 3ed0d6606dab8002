#include "fastprop/predict/mxnet_engine.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "fastprop/error.hpp"
#include "fastprop/mxnet/csr_array.hpp"
#include "fastprop/mxnet/executor.hpp"
#include "fastprop/predict/stopwatch.hpp"
#include "fastprop/sched/fork.hpp"
#include "fastprop/sched/worker_pool.hpp"

namespace fastprop {

using mxnet::OwnedNDArray;
using mxnet::Shape;

namespace {

constexpr int kOwningWorker = 0;

// Of all engines: binding partitions the graph with objects that MXNet has once per process
// (BuildSubgraph in src/executor/graph_executor.cc sets the graph on a registered property).
// Never destroyed: workers may still run at the end of the process.
ForkSafeMutex& bind_mutex() {
  static auto* const mutex = new ForkSafeMutex;
  return *mutex;
}

OwnedNDArray make_parameter(const MxnetParameter& parameter) {
  switch (parameter.mode) {
    case MxnetParameter::Mode::kBorrow:
      return mxnet::wrap_dense(parameter.shape, parameter.dtype, parameter.data);
    case MxnetParameter::Mode::kFullRowSparse:
      return mxnet::copy_full_row_sparse(parameter.shape, parameter.dtype, parameter.data);
    case MxnetParameter::Mode::kCopy:
      break;
  }
  return mxnet::copy_dense(parameter.shape, parameter.dtype, parameter.data);
}

Shape batch_shape(std::int64_t batch, const Shape& row_shape) {
  Shape shape{batch};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  return shape;
}

using ListFunction = int (*)(void*, std::uint32_t*, const char***);

std::vector<std::string> list_names(ListFunction list, const char* name, void* symbol) {
  std::uint32_t size = 0;
  const char** names = nullptr;
  const ForeignCall call;
  mxnet::check(list(symbol, &size, &names), name);
  return {names, names + size};
}

// Batch sizes for which executors are bound: few, because each distinct shape costs memory, and
// close enough that a small call does not pay for a large one.
std::int64_t bucket_for(std::int64_t n_rows, std::int64_t max_rows) {
  std::int64_t bucket = 1;
  while (bucket < n_rows) bucket *= 4;
  return std::min(bucket, max_rows);
}

}  // namespace

struct MxnetEngine::Handles {
  mxnet::OwnedSymbol symbol;
  std::vector<std::string> argument_names;
  std::unordered_map<std::string, OwnedNDArray> arguments;
  std::vector<OwnedNDArray> auxiliary;
};

std::shared_ptr<MxnetEngine> MxnetEngine::create(MxnetSpec spec) {
  std::shared_ptr<MxnetEngine> engine(new MxnetEngine(std::move(spec)));
  WorkerPool::instance().release(WorkerPool::instance().reserve(1));
  WorkerPool::run_on(kOwningWorker, [&engine] { engine->load(); });
  return engine;
}

MxnetEngine::MxnetEngine(MxnetSpec spec)
    : spec_(std::move(spec)), handles_(std::make_unique<Handles>()) {
  for (std::size_t i = 1; i < spec_.inputs.size(); ++i) {
    const MxnetInput& input = spec_.inputs[i];
    further_.push_back({input.name, mxnet::element_count(input.row_shape)});
  }
}

MxnetEngine::~MxnetEngine() {
  // The arrays go before what they borrow from, and on a thread that may touch MXNet.
  std::shared_ptr<Handles> handles = std::move(handles_);
  auto owner = std::move(spec_.owner);
  WorkerPool::instance().release(WorkerPool::instance().reserve(1));
  WorkerPool::instance().post(kOwningWorker,
                              [handles = std::move(handles), owner = std::move(owner)]() mutable {
                                handles.reset();
                                owner.reset();
                              });
}

void MxnetEngine::load() {
  FASTPROP_MXNET(MXSetNumOMPThreads, 1);
  void* symbol = nullptr;
  FASTPROP_MXNET(MXSymbolCreateFromJSON, spec_.symbol_json.c_str(), &symbol);
  handles_->symbol = mxnet::OwnedSymbol(symbol);
  const auto& table = mxnet::api();
  handles_->argument_names =
      list_names(table.MXSymbolListArguments, "MXSymbolListArguments", symbol);
  for (const auto& parameter : spec_.arguments) {
    handles_->arguments.emplace(parameter.name, make_parameter(parameter));
  }
  std::vector<std::string> fed;
  for (const auto& input : spec_.inputs) fed.push_back(input.name);
  for (const auto& input : spec_.zero_inputs) fed.push_back(input.name);
  for (const auto& name : handles_->argument_names) {
    if (handles_->arguments.count(name) == 0 &&
        std::find(fed.begin(), fed.end(), name) == fed.end()) {
      throw Error(ErrorKind::kModelFormat,
                  "argument " + name + " of the graph is neither a parameter nor an input");
    }
  }
  for (const auto& name :
       list_names(table.MXSymbolListAuxiliaryStates, "MXSymbolListAuxiliaryStates", symbol)) {
    const auto found =
        std::find_if(spec_.auxiliary.begin(), spec_.auxiliary.end(),
                     [&name](const MxnetParameter& parameter) { return parameter.name == name; });
    if (found == spec_.auxiliary.end()) {
      throw Error(ErrorKind::kModelFormat, "the checkpoint has no auxiliary state " + name);
    }
    handles_->auxiliary.push_back(make_parameter(*found));
  }
}

RowsSpec MxnetEngine::rows() const {
  if (spec_.sparse_layer) return {true, spec_.n_features};
  const MxnetInput& input = spec_.inputs.at(0);
  return {input.sparse, mxnet::element_count(input.row_shape)};
}

std::int64_t MxnetEngine::n_scores() const {
  if (!spec_.columns.empty()) return static_cast<std::int64_t>(spec_.columns.size());
  return std::accumulate(spec_.head_widths.begin(), spec_.head_widths.end(), std::int64_t{0});
}

// One worker's executors.
class MxnetSession : public Session {
 public:
  MxnetSession(std::shared_ptr<MxnetEngine> engine, std::int64_t max_rows,
               std::shared_ptr<BufferPool> pool)
      : engine_(std::move(engine)),
        kernels_(kernels::kernels(engine_->spec_.isa)),
        max_rows_(max_rows),
        pool_(std::move(pool)) {
    FASTPROP_MXNET(MXSetNumOMPThreads, 1);
  }

  void warm_up() override {
    for (const std::int64_t bucket : {std::int64_t{1}, max_rows_}) {
      Bound& bound = buckets_[bucket];
      if (!bound.executor) bind_bucket(bound, bucket, bucket * kUsualRowLength);
    }
  }

  std::vector<Shape> head_shapes() {
    Bound& bound = buckets_[max_rows_];
    bind_bucket(bound, max_rows_, 1);
    std::vector<Shape> shapes;
    for (const auto& output : bound.executor->outputs()) shapes.push_back(output.shape);
    return shapes;
  }

  void run(const Tile& tile, const Output& output, SessionCounters& counters) override {
    Bound& bound = bind(tile);
    fill(bound, tile, counters);
    {
      const Stopwatch watch(counters.graph_ns);
      bound.executor->forward();
    }
    const Stopwatch watch(counters.deliver_ns);
    deliver_heads(bound, tile, output);
  }

 private:
  struct Bound {
    std::unique_ptr<mxnet::CsrArray> rows;  // where the graph itself takes sparse rows
    std::vector<OwnedNDArray> inputs;       // the others, in order
    std::vector<float*> input_data;
    std::vector<OwnedNDArray> zeros;
    std::unique_ptr<mxnet::Executor> executor;
  };

  const MxnetSpec& spec() const { return engine_->spec_; }

  bool graph_takes_csr() const { return !spec().sparse_layer && spec().inputs[0].sparse; }

  // The executor of the tile's bucket, bound anew when its CSR array is too small.
  Bound& bind(const Tile& tile) {
    const std::int64_t bucket = bucket_for(tile.n_rows, max_rows_);
    std::int64_t n_entries = 0;
    if (graph_takes_csr()) {
      const auto& csr = std::get<CsrView>(tile.rows);
      n_entries = csr.indptr[tile.first + tile.n_rows] - csr.indptr[tile.first];
    }
    Bound& bound = buckets_[bucket];
    if (bound.executor && (!bound.rows || bound.rows->capacity() >= n_entries)) return bound;
    bound = Bound{};
    // Half as much again, so that tiles of varying size settle after a few.
    bind_bucket(bound, bucket, n_entries + n_entries / 2);
    return bound;
  }

  void bind_bucket(Bound& bound, std::int64_t bucket, std::int64_t capacity) {
    std::map<std::string, void*> fed;
    for (std::size_t i = 0; i < spec().inputs.size(); ++i) {
      const MxnetInput& input = spec().inputs[i];
      if (i == 0 && graph_takes_csr()) {
        bound.rows = std::make_unique<mxnet::CsrArray>(
            bucket, mxnet::element_count(input.row_shape), capacity);
        bound.rows->fill(CsrView{{kZeroIndptr, IndexType::kInt64}, {}, {}, 0, 0, 0, true}, 0, 0,
                         false);
        fed[input.name] = bound.rows->handle();
        bound.inputs.emplace_back();
        bound.input_data.push_back(nullptr);
        continue;
      }
      bound.inputs.push_back(zeros(batch_shape(bucket, input.row_shape)));
      bound.input_data.push_back(static_cast<float*>(mxnet::data_of(bound.inputs.back())));
      fed[input.name] = bound.inputs.back().get();
    }
    for (const MxnetInput& input : spec().zero_inputs) {
      bound.zeros.push_back(zeros(batch_shape(bucket, input.row_shape)));
      fed[input.name] = bound.zeros.back().get();
    }
    const auto& handles = *engine_->handles_;
    std::vector<void*> arguments;
    for (const std::string& name : handles.argument_names) {
      const auto parameter = handles.arguments.find(name);
      arguments.push_back(parameter != handles.arguments.end() ? parameter->second.get()
                                                               : fed.at(name));
    }
    std::vector<void*> auxiliary;
    for (const OwnedNDArray& array : handles.auxiliary) auxiliary.push_back(array.get());

    // The first run is under the lock as well: it touches the shared parameters (oneDNN reorders
    // weights in place).
    std::lock_guard lock(bind_mutex());
    auto executor = std::make_unique<mxnet::Executor>(handles.symbol.get(), std::move(arguments),
                                                      std::move(auxiliary));
    executor->forward();
    check_outputs(*executor, bucket);
    bound.executor = std::move(executor);
  }

  static OwnedNDArray zeros(const Shape& shape) {
    OwnedNDArray array = mxnet::make_dense(shape, mxnet::DType::kFloat32);
    std::fill_n(static_cast<float*>(mxnet::data_of(array)), mxnet::element_count(shape), 0.0F);
    return array;
  }

  void check_outputs(const mxnet::Executor& executor, std::int64_t bucket) const {
    const auto& outputs = executor.outputs();
    const auto& widths = spec().head_widths;
    if (widths.empty()) return;
    bool right = outputs.size() == widths.size();
    for (std::size_t i = 0; right && i < outputs.size(); ++i) {
      right = !outputs[i].shape.empty() && outputs[i].shape[0] % bucket == 0 &&
              mxnet::element_count(outputs[i].shape) == bucket * widths[i];
    }
    if (!right) {
      throw Error(ErrorKind::kEngine,
                  "the heads of the graph do not have the shapes inferred for them");
    }
  }

  void fill(Bound& bound, const Tile& tile, SessionCounters& counters) {
    if (spec().sparse_layer) {
      const Stopwatch watch(counters.sparse_ns);
      run_sparse_layer(bound.input_data[0], tile);
    } else if (bound.rows) {
      const Stopwatch watch(counters.fill_ns);
      const auto bytes = bound.rows->fill(std::get<CsrView>(tile.rows), tile.first, tile.n_rows,
                                          spec().canonical_rows);
      counters.bytes_copied.fetch_add(static_cast<std::uint64_t>(bytes), std::memory_order_relaxed);
    } else {
      copy_dense(std::get<DenseView>(tile.rows), bound.input_data[0], tile, counters);
    }
    for (std::size_t i = 1; i < bound.input_data.size(); ++i) {
      copy_dense(tile.further[i - 1], bound.input_data[i], tile, counters);
    }
  }

  void run_sparse_layer(float* hidden, const Tile& tile) const {
    const auto& csr = std::get<CsrView>(tile.rows);
    const kernels::SparseLayer& layer = *spec().sparse_layer;
    const kernels::CsrRows rows = rows_from(csr, tile.first);
    kernels_.sparse_layer(layer, rows, static_cast<std::size_t>(tile.n_rows), hidden, layer.width);
  }

  static void copy_dense(const DenseView& from, float* to, const Tile& tile,
                         SessionCounters& counters) {
    const Stopwatch watch(counters.fill_ns);
    for (std::int64_t i = 0; i < tile.n_rows; ++i) {
      std::copy_n(from.row(tile.first + i), from.width, to + i * from.width);
    }
    counters.bytes_copied.fetch_add(static_cast<std::uint64_t>(4 * tile.n_rows * from.width),
                                    std::memory_order_relaxed);
  }

  void deliver_heads(const Bound& bound, const Tile& tile, const Output& output) {
    const auto& heads = bound.executor->outputs();
    const auto& widths = spec().head_widths;
    const std::int64_t n_scores = engine_->n_scores();
    // A function of the caller's may change what it is given, and what MXNet owns is not to change.
    const bool lends = !std::holds_alternative<PostprocessOutput>(output);
    if (lends && heads.size() == 1 && spec().columns.empty()) {
      deliver(output, kernels_, *pool_, tile.first, tile.n_rows, const_cast<float*>(heads[0].data),
              n_scores, n_scores);
      return;
    }
    // Straight into the caller's rows where whole scores are asked for, else into scratch.
    const auto* whole = std::get_if<ScoreOutput>(&output);
    Lease scratch;
    float* to = nullptr;
    std::int64_t stride = n_scores;
    if (whole != nullptr) {
      to = whole->data + tile.first * whole->stride;
      stride = whole->stride;
    } else {
      scratch = pool_->lease(static_cast<std::size_t>(tile.n_rows * n_scores) * sizeof(float));
      to = scratch.as<float>();
    }
    if (spec().columns.empty()) {
      for (std::size_t h = 0; h < heads.size(); ++h) {
        for (std::int64_t i = 0; i < tile.n_rows; ++i) {
          std::copy_n(heads[h].data + i * widths[h], widths[h], to + i * stride);
        }
        to += widths[h];
      }
      to -= n_scores;
    } else {
      for (std::int64_t c = 0; c < n_scores; ++c) {
        const ScoreColumn& column = spec().columns[static_cast<std::size_t>(c)];
        const auto head = static_cast<std::size_t>(column.head);
        const float* from = heads[head].data + column.column;
        for (std::int64_t i = 0; i < tile.n_rows; ++i) to[i * stride + c] = from[i * widths[head]];
      }
    }
    deliver(output, kernels_, *pool_, tile.first, tile.n_rows, to, stride, n_scores);
  }

  static constexpr std::int64_t kZeroIndptr[1] = {0};
  static constexpr std::int64_t kUsualRowLength = 128;

  std::shared_ptr<MxnetEngine> engine_;
  const kernels::Kernels& kernels_;
  std::int64_t max_rows_;
  std::shared_ptr<BufferPool> pool_;
  std::map<std::int64_t, Bound> buckets_;
};

std::unique_ptr<Session> MxnetEngine::open_session(std::int64_t max_rows,
                                                   std::shared_ptr<BufferPool> pool) {
  return std::make_unique<MxnetSession>(shared_from_this(), max_rows, std::move(pool));
}

std::vector<Shape> MxnetEngine::head_shapes(std::int64_t batch) {
  std::vector<Shape> shapes;
  WorkerPool::run_on(kOwningWorker, [&] {
    shapes = MxnetSession(shared_from_this(), batch, BufferPool::create(0)).head_shapes();
  });
  return shapes;
}

}  // namespace fastprop
