#include "fastprop/predict/native_engine.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "fastprop/error.hpp"
#include "fastprop/predict/steps/check_step.hpp"
#include "fastprop/predict/stopwatch.hpp"

namespace fastprop {

namespace {

// Scores of a tile that outgrow the nearer caches are written past them.
constexpr std::int64_t kStreamedScores = 128 * 1024;
// Fewer rows share too few weight rows for the first step to take them together.
constexpr std::int64_t kManyRows = 1024;

bool is_scores(const Operand& operand) { return operand.place == Place::kScores; }

bool reads_scores(const StepSpec& spec) {
  return std::any_of(spec.inputs.begin(), spec.inputs.end(), is_scores);
}

void check_widths(const Plan& plan) {
  constexpr std::int64_t kWidest = std::int64_t{1} << 31;
  const auto is_wrong = [](std::int64_t width) { return width < 1 || width >= kWidest; };
  if (plan.steps.empty()) throw Error(ErrorKind::kModelFormat, "the plan has no steps");
  if (is_wrong(plan.n_scores) || std::any_of(plan.slots.begin(), plan.slots.end(), is_wrong)) {
    throw Error(ErrorKind::kModelFormat, "the plan has scores or slots of an impossible width");
  }
}

}  // namespace

std::shared_ptr<NativeEngine> NativeEngine::create(Plan plan, kernels::Isa isa,
                                                   std::shared_ptr<const void> owner) {
  std::shared_ptr<NativeEngine> engine(new NativeEngine(std::move(plan), isa, std::move(owner)));
  engine->make_steps();
  return engine;
}

void NativeEngine::make_steps() {
  check_widths(plan_);
  for (const StepSpec& spec : plan_.steps) steps_.push_back(make_step(spec, plan_));
  // What nobody reads any more may be written past the caches.
  for (std::size_t i = steps_.size(); i-- > 0;) {
    if (is_scores(plan_.steps[i].output)) steps_[i]->writes_scores_last();
    if (reads_scores(plan_.steps[i])) break;
  }
  find_selecting();
  find_gathering();
}

void NativeEngine::find_selecting() {
  const auto* last = dynamic_cast<const DenseStep*>(steps_.back().get());
  const Operand& output = plan_.steps.back().output;
  if (last != nullptr && last->can_select() && is_scores(output) &&
      output.width == plan_.n_scores &&
      std::none_of(plan_.steps.begin(), plan_.steps.end() - 1, [](const StepSpec& spec) {
        return is_scores(spec.output) || reads_scores(spec);
      })) {
    selecting_ = last;
  }
}

void NativeEngine::find_gathering() {
  const auto* first = dynamic_cast<const SparseStep*>(steps_.front().get());
  if (first == nullptr || !first->gains_by_many_rows()) return;
  const Operand& output = first->output();
  if (output.is_compact() && output.width == plan_.slots[size(output.number)]) gathering_ = first;
}

// How many rows the first step is given at once, at the most. The rows' results should stay in the
// shared cache, and a tile end before a waiting caller who was interrupted loses patience.
std::int64_t NativeEngine::most_rows() const {
  constexpr std::int64_t kMostRows = 8192;
  constexpr std::int64_t kMostProducts = std::int64_t{1} << 32;
  std::int64_t products = 1;
  for (const auto& step : steps_) products += step->products();
  return std::min(kMostRows, kMostProducts / products);
}

// A row's scores have the same bits in any tile. A tile is a batch; or many, where the first step
// gains by it; or less, so that every worker has its part of a call of a few hundred rows.
std::int64_t NativeEngine::tile_rows(std::int64_t n_rows, std::int64_t batch_size,
                                     std::int64_t threads) const {
  constexpr std::int64_t kTilesAWorker = 4;  // who is late leaves some to the others
  constexpr std::int64_t kSmallestTile = 32;
  const std::int64_t tiles = threads == 1 ? 1 : kTilesAWorker * threads;
  const std::int64_t part = (n_rows + tiles - 1) / tiles;
  if (gathering_ != nullptr) {
    const std::int64_t many = std::min(part, most_rows()) / batch_size * batch_size;
    if (many >= kManyRows) return many;
  }
  return std::min(batch_size, std::max(part, kSmallestTile));
}

// One worker's slots and its way through the steps.
class NativeSession : public Session {
 public:
  NativeSession(std::shared_ptr<NativeEngine> engine, std::int64_t batch_size,
                std::shared_ptr<BufferPool> pool)
      : engine_(std::move(engine)),
        kernels_(kernels::kernels(engine_->isa_)),
        batch_size_(batch_size),
        pool_(std::move(pool)) {}

  void warm_up() override { lease_slots(); }

  void run(const Tile& tile, const Output& output, SessionCounters& counters) override {
    lease_slots();
    const bool many = tile.n_rows >= kManyRows && engine_->gathering_ != nullptr;
    if (many && run_gathering(tile, output, counters)) return;
    for (std::int64_t row = 0; row < tile.n_rows; row += batch_size_) {
      run_batch(batch_of(tile, row), 0, output, counters);
    }
  }

 private:
  // Runs the steps from `first_step` on for a tile of at most a batch.
  void run_batch(const Tile& tile, std::size_t first_step, const Output& output,
                 SessionCounters& counters) {
    const auto* whole = std::get_if<ScoreOutput>(&output);
    const auto* top = std::get_if<TopKOutput>(&output);
    const DenseStep* selecting = top != nullptr ? engine_->selecting_ : nullptr;
    Lease leased;
    Matrix scores;
    if (whole != nullptr) {
      scores = {whole->data + tile.first * whole->stride, whole->stride};
    } else if (selecting == nullptr) {
      leased = pool_->lease(size(tile.n_rows * n_scores()) * sizeof(float));
      scores = {leased.as<float>(), n_scores()};
    }
    const bool streams = whole != nullptr && tile.n_rows * n_scores() >= kStreamedScores;
    const TileRun tile_run{tile, kernels_, *pool_, slots_, counters, scores, streams};
    const std::size_t n_steps = engine_->steps_.size() - (selecting != nullptr ? 1 : 0);
    for (std::size_t i = first_step; i < n_steps; ++i) {
      const Step& step = *engine_->steps_[i];
      const Stopwatch watch(step.is_sparse() ? counters.sparse_ns : counters.graph_ns);
      step.run(tile_run);
    }
    if (selecting != nullptr) {
      const Stopwatch watch(counters.graph_ns);
      states_.resize(size(batch_size_));
      selecting->select(tile_run, *top, states_.data());
      return;
    }
    const Stopwatch watch(counters.deliver_ns);
    deliver(output, kernels_, *pool_, tile.first, tile.n_rows, scores.data, scores.stride,
            n_scores());
  }

  std::int64_t n_scores() const { return engine_->n_scores(); }

  Tile batch_of(const Tile& tile, std::int64_t row) const {
    return {tile.rows, tile.further, tile.first + row, std::min(batch_size_, tile.n_rows - row),
            tile.may_be_helped};
  }

  // False where the pool's cap leaves no room for many rows: the batches then go one by one, and
  // write again what was written.
  bool run_gathering(const Tile& tile, const Output& output, SessionCounters& counters) {
    const SparseStep& step = *engine_->gathering_;
    const std::int64_t width = step.output().width;
    try {
      const Lease gathered = pool_->lease(size(tile.n_rows * width) * sizeof(float));
      {
        const Stopwatch watch(counters.sparse_ns);
        step.run_many(kernels_, std::get<CsrView>(tile.rows), tile.first, tile.n_rows, *pool_,
                      gathered.as<float>());
      }
      for (std::int64_t row = 0; row < tile.n_rows; row += batch_size_) {
        slots_[size(step.output().number)] = gathered.as<float>() + row * width;
        run_batch(batch_of(tile, row), 1, output, counters);
      }
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kPoolLimit) throw;
      lease_slots();  // the slot of the step's output is the leased one again
      return false;
    }
  }

  void lease_slots() {
    const std::vector<std::int64_t>& widths = engine_->plan_.slots;
    for (std::size_t i = leases_.size(); i < widths.size(); ++i) {
      leases_.push_back(pool_->lease(size(batch_size_ * widths[i]) * sizeof(float)));
    }
    slots_.resize(leases_.size());
    std::transform(leases_.begin(), leases_.end(), slots_.begin(),
                   [](const Lease& lease) { return lease.as<float>(); });
  }

  std::shared_ptr<NativeEngine> engine_;
  const kernels::Kernels& kernels_;
  std::int64_t batch_size_;
  std::shared_ptr<BufferPool> pool_;
  std::vector<Lease> leases_;
  std::vector<float*> slots_;
  std::vector<kernels::TopKState> states_;
};

std::unique_ptr<Session> NativeEngine::open_session(std::int64_t batch_size,
                                                    std::shared_ptr<BufferPool> pool) {
  return std::make_unique<NativeSession>(shared_from_this(), batch_size, std::move(pool));
}

}  // namespace fastprop
