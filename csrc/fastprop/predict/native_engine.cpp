#include "fastprop/predict/native_engine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "fastprop/error.hpp"
#include "fastprop/predict/stopwatch.hpp"

namespace fastprop {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Scores of a tile that outgrow the nearer caches are written past them.
constexpr std::int64_t kStreamedScores = 128 * 1024;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

void* allocate_panels(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* panels = std::aligned_alloc(alignment, std::max(rounded, alignment));
  if (panels == nullptr) {
    throw Error(ErrorKind::kPoolLimit,
                "out of memory: " + std::to_string(bytes) + " bytes for a packed layer");
  }
  if (alignment == kHugePage) madvise(panels, rounded, MADV_HUGEPAGE);
  return panels;
}

}  // namespace

void NativeEngine::FreePanels::operator()(void* panels) const noexcept { std::free(panels); }

std::shared_ptr<NativeEngine> NativeEngine::create(NativeSpec spec) {
  std::shared_ptr<NativeEngine> engine(new NativeEngine(std::move(spec)));
  engine->pack();
  return engine;
}

void NativeEngine::pack() {
  auto width = static_cast<std::int64_t>(spec_.sparse_layer.width);
  for (const NativeLayer& layer : spec_.layers) {
    if (layer.inputs != width) {
      throw Error(ErrorKind::kModelFormat, "a layer takes " + std::to_string(layer.inputs) +
                                               " columns and is given " + std::to_string(width));
    }
    const std::size_t bytes =
        kernels::packed_dense_bytes(spec_.weight_type, size(layer.inputs), size(layer.outputs));
    panels_.emplace_back(allocate_panels(bytes));
    kernels::pack_dense(spec_.weight_type, layer.weight, size(layer.inputs), size(layer.inputs),
                        size(layer.outputs), panels_.back().get());
    kernels::DenseLayer dense;
    dense.panels = panels_.back().get();
    dense.inputs = size(layer.inputs);
    dense.outputs = size(layer.outputs);
    dense.bias = layer.bias;
    dense.weight_type = spec_.weight_type;
    dense.activation = layer.activation;
    dense_.push_back(dense);
    width = layer.outputs;
  }
  if (!spec_.softmax_offsets.empty() && spec_.softmax_offsets.back() != width) {
    throw Error(ErrorKind::kModelFormat, "the softmax does not cover the last layer");
  }
}

// A row's scores have the same bits in any tile, so that a call of a few hundred rows may be cut
// finer, for every worker to have its part.
std::int64_t NativeEngine::tile_rows(std::int64_t n_rows, std::int64_t batch_size) const {
  constexpr std::int64_t kTiles = 8;
  constexpr std::int64_t kSmallestTile = 32;
  const std::int64_t part = (n_rows + kTiles - 1) / kTiles;
  return std::min(batch_size, std::max(part, kSmallestTile));
}

std::int64_t NativeEngine::n_scores() const {
  return spec_.layers.empty() ? static_cast<std::int64_t>(spec_.sparse_layer.width)
                              : spec_.layers.back().outputs;
}

// One worker's scratch and its way through the layers.
class NativeSession : public Session {
 public:
  NativeSession(std::shared_ptr<NativeEngine> engine, std::int64_t max_rows,
                std::shared_ptr<BufferPool> pool)
      : engine_(std::move(engine)),
        kernels_(kernels::kernels(engine_->spec_.isa)),
        max_rows_(max_rows),
        pool_(std::move(pool)) {}

  void warm_up() override {
    scratch(0, widest_hidden());
    scratch(1, widest_hidden());
  }

  void run(const Tile& tile, const Output& output, SessionCounters& counters) override {
    const auto* whole = std::get_if<ScoreOutput>(&output);
    const auto n_layers = engine_->dense_.size();
    // The last layer writes to the caller's rows where whole scores are asked for.
    if (n_layers == 0) {
      const Place place = whole ? caller_place(*whole, tile) : scratch_place(0, n_scores());
      run_sparse(tile, place, counters);
      finish(tile, output, place, counters);
      return;
    }
    Place hidden = scratch_place(0, static_cast<std::int64_t>(sparse_layer().width));
    run_sparse(tile, hidden, counters);
    for (std::size_t i = 0; i + 1 < n_layers; ++i) {
      const auto width = static_cast<std::int64_t>(engine_->dense_[i].outputs);
      const Place next = scratch_place((i + 1) % 2, width);
      run_dense(engine_->dense_[i], hidden, tile.n_rows, next, false, counters);
      hidden = next;
    }
    if (const auto* top = std::get_if<TopKOutput>(&output); top && selects_from_logits()) {
      select(*top, tile, hidden, counters);
      return;
    }
    const bool streaming = whole != nullptr && engine_->spec_.softmax_offsets.empty() &&
                           tile.n_rows * n_scores() >= kStreamedScores;
    Lease scores;
    if (!whole) scores = pool_->lease(size(tile.n_rows * n_scores()) * sizeof(float));
    const Place place = whole ? caller_place(*whole, tile) : Place{scores.as<float>(), n_scores()};
    run_dense(engine_->dense_.back(), hidden, tile.n_rows, place, streaming, counters);
    finish(tile, output, place, counters);
  }

 private:
  struct Place {
    float* data;
    std::int64_t stride;
  };

  const kernels::SparseLayer& sparse_layer() const { return engine_->spec_.sparse_layer; }
  std::int64_t n_scores() const { return engine_->n_scores(); }

  std::int64_t widest_hidden() const {
    auto widest = static_cast<std::int64_t>(sparse_layer().width);
    for (std::size_t i = 0; i + 1 < engine_->dense_.size(); ++i) {
      widest = std::max(widest, static_cast<std::int64_t>(engine_->dense_[i].outputs));
    }
    return widest;
  }

  float* scratch(std::size_t number, std::int64_t width) {
    const std::size_t bytes = size(max_rows_ * width) * sizeof(float);
    if (scratch_[number].capacity() < bytes) scratch_[number] = pool_->lease(bytes);
    return scratch_[number].as<float>();
  }

  Place scratch_place(std::size_t number, std::int64_t width) {
    return {scratch(number, width), width};
  }

  static Place caller_place(const ScoreOutput& output, const Tile& tile) {
    return {output.data + tile.first * output.stride, output.stride};
  }

  void run_sparse(const Tile& tile, const Place& place, SessionCounters& counters) const {
    const Stopwatch watch(counters.sparse_ns);
    kernels_.sparse_layer(sparse_layer(), rows_from(std::get<CsrView>(tile.rows), tile.first),
                          size(tile.n_rows), place.data, size(place.stride));
  }

  void run_dense(const kernels::DenseLayer& layer, const Place& from, std::int64_t n_rows,
                 const Place& to, bool streaming, SessionCounters& counters) const {
    const Stopwatch watch(counters.graph_ns);
    kernels_.dense(layer, from.data, size(from.stride), size(n_rows),
                   {to.data, size(to.stride), 0, layer.outputs, streaming});
  }

  // Softmax where the model has one, then delivery of what is not in the caller's rows yet.
  void finish(const Tile& tile, const Output& output, const Place& place,
              SessionCounters& counters) const {
    const auto& offsets = engine_->spec_.softmax_offsets;
    if (!offsets.empty()) {
      const Stopwatch watch(counters.graph_ns);
      kernels_.softmax(place.data, size(place.stride), size(tile.n_rows), offsets.data(),
                       offsets.size() - 1);
    }
    const Stopwatch watch(counters.deliver_ns);
    deliver(output, kernels_, *pool_, tile.first, tile.n_rows, place.data, place.stride,
            n_scores());
  }

  // Whether the k best can be told before the last activation is taken.
  bool selects_from_logits() const {
    const auto kind = engine_->dense_.back().activation.kind;
    return engine_->spec_.softmax_offsets.empty() && (kind == kernels::ActivationKind::kSigmoid ||
                                                      kind == kernels::ActivationKind::kIdentity);
  }

  void select(const TopKOutput& output, const Tile& tile, const Place& from,
              SessionCounters& counters) {
    const Stopwatch watch(counters.graph_ns);
    const std::size_t k = output.rule.k;
    const std::size_t keys = kernels::top_k_keys(k);
    const Lease lease = pool_->lease(size(tile.n_rows) * keys * sizeof(std::uint64_t));
    states_.resize(size(max_rows_));
    kernels::DenseLayer layer = engine_->dense_.back();
    kernels::TopKRule rule = output.rule;
    rule.transform = layer.activation.kind;
    layer.activation = {};
    for (std::size_t i = 0; i < size(tile.n_rows); ++i) {
      states_[i].keys = lease.as<std::uint64_t>() + i * keys;
      kernels_.top_k_begin(rule, states_[i]);
    }
    kernels_.dense_top_k(layer, from.data, size(from.stride), size(tile.n_rows), 0, layer.outputs,
                         rule, states_.data());
    for (std::size_t i = 0; i < size(tile.n_rows); ++i) {
      const std::size_t at = (size(tile.first) + i) * k;
      kernels_.top_k_finish(rule, states_[i], output.scores + at, output.indices + at);
    }
  }

  std::shared_ptr<NativeEngine> engine_;
  const kernels::Kernels& kernels_;
  std::int64_t max_rows_;
  std::shared_ptr<BufferPool> pool_;
  Lease scratch_[2];
  std::vector<kernels::TopKState> states_;
};

std::unique_ptr<Session> NativeEngine::open_session(std::int64_t max_rows,
                                                    std::shared_ptr<BufferPool> pool) {
  return std::make_unique<NativeSession>(shared_from_this(), max_rows, std::move(pool));
}

}  // namespace fastprop
