#include "fastprop/predict/predictor.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "fastprop/error.hpp"
#include "fastprop/predict/stopwatch.hpp"
#include "fastprop/sched/assist.hpp"
#include "fastprop/sched/spin.hpp"
#include "fastprop/sched/worker_pool.hpp"

namespace fastprop {

namespace {

std::int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The first fault by tile, whichever worker finds it first.
class FirstFault {
 public:
  void report(std::int64_t tile, std::string message) {
    std::lock_guard lock(mutex_);
    if (tile_ < 0 || tile < tile_) {
      tile_ = tile;
      message_ = std::move(message);
    }
    found_.store(true, std::memory_order_release);
  }

  void rethrow() {
    if (!found_.load(std::memory_order_acquire)) return;
    std::lock_guard lock(mutex_);
    throw Error(ErrorKind::kInvalidInput, message_);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> found_{false};
  std::int64_t tile_ = -1;
  std::string message_;
};

}  // namespace

struct Predictor::State {
  State(std::shared_ptr<Engine> engine_used, const PredictorOptions& options_used)
      : generation(fork_generation()),
        engine(std::move(engine_used)),
        options(options_used),
        pool(BufferPool::create(options.pool_limit)),
        workers(WorkerPool::instance().reserve(options.threads)),
        sessions(workers.size() + 1),
        counters(workers.size() + 1) {}

  ~State() {
    if (generation != fork_generation()) {
      // The parent's threads may have been at work in these when the fork lost them, and MXNet is
      // not to be touched on this thread: they are left as they are.
      for (auto& session : sessions) static_cast<void>(session.release());
      return;
    }
    WorkerPool& worker_pool = WorkerPool::instance();
    for (std::size_t slot = 0; slot < workers.size(); ++slot) {
      if (!sessions[slot]) continue;
      std::shared_ptr<Session> session = std::move(sessions[slot]);
      worker_pool.post(workers[slot],
                       [session = std::move(session)]() mutable { session.reset(); });
    }
    worker_pool.release(workers);
  }

  // The session of a slot; called on its worker only.
  Session& session(int slot) {
    auto& found = sessions[static_cast<std::size_t>(slot)];
    if (!found) found = engine->open_session(options.batch_size, pool);
    return *found;
  }

  const std::uint64_t generation;
  std::shared_ptr<Engine> engine;
  const PredictorOptions options;
  std::shared_ptr<BufferPool> pool;
  std::vector<int> workers;
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<SessionCounters> counters;
  // The last slot is no worker's: one waiting caller at a time may work as it.
  int caller_slot() const noexcept { return static_cast<int>(workers.size()); }

  std::atomic<bool> caller_busy{false};
  // When a caller last worked; 0 before.
  std::atomic<std::int64_t> caller_ended_ns{0};
  std::atomic<std::uint64_t> calls{0};
};

namespace {

// One request under way: every tile is checked before the first is scored, so that a bad row
// leaves the caller's output as it was.
struct Run {
  Run(Request request_made, std::int64_t tile_rows_used, bool finite)
      : request(std::move(request_made)),
        n_rows(row_count(request.rows)),
        tile_rows(tile_rows_used),
        n_tiles((n_rows + tile_rows - 1) / tile_rows),
        unchecked(n_tiles),
        check{finite, request.first_row} {}

  std::int64_t first(std::int64_t tile) const { return tile * tile_rows; }
  std::int64_t count(std::int64_t tile) const { return std::min(tile_rows, n_rows - first(tile)); }

  Tile tile(std::int64_t number) const {
    return {request.rows, request.further, first(number), count(number)};
  }

  const Request request;
  const std::int64_t n_rows;
  const std::int64_t tile_rows;
  const std::int64_t n_tiles;
  std::atomic<std::int64_t> unchecked;
  FirstFault fault;
  const CheckOptions check;
  std::weak_ptr<Job> job;
};

void check_tile(Run& run, std::int64_t tile, const std::vector<FurtherSpec>& further,
                const kernels::Kernels& table, SessionCounters& counters) {
  const Stopwatch watch(counters.check_ns);
  auto fault = find_fault(run.tile(tile), further, run.check, table);
  if (fault) run.fault.report(tile, std::move(*fault));
  run.unchecked.fetch_sub(1, std::memory_order_acq_rel);
}

// Checks take a small part of a tile's time and are claimed before any scoring: the wait is short.
void await_checks(Run& run) {
  const auto job = run.job.lock();
  while (run.unchecked.load(std::memory_order_acquire) != 0) {
    if (job && job->stopped()) return;
    relax();
    std::this_thread::yield();
  }
}

void score_tile(Run& run, std::int64_t number, Session& session, bool may_be_helped,
                SessionCounters& counters) {
  await_checks(run);
  run.fault.rethrow();
  Tile tile = run.tile(number);
  tile.may_be_helped = may_be_helped;
  session.run(tile, run.request.output, counters);
  counters.rows.fetch_add(static_cast<std::uint64_t>(tile.n_rows), std::memory_order_relaxed);
  counters.tiles.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Predictor::Predictor(std::shared_ptr<Engine> engine, PredictorOptions options)
    : engine_(std::move(engine)), options_(options) {}

Predictor::~Predictor() { release(); }

std::shared_ptr<Predictor::State> Predictor::state() const {
  if (closed()) throw Error(ErrorKind::kClosed, "the predictor is closed");
  std::lock_guard lock(mutex_);
  if (!state_ || state_->generation != fork_generation()) {
    state_ = std::make_shared<State>(engine_, options_);
  }
  return state_;
}

void Predictor::release() {
  close();
  std::shared_ptr<State> last;
  std::lock_guard lock(mutex_);
  last.swap(state_);
}

Lease Predictor::lease(std::size_t bytes) { return state()->pool->lease(bytes); }

void Predictor::check_shapes(const Request& request) const {
  const RowsSpec rows = engine_->rows();
  const bool sparse = std::holds_alternative<CsrView>(request.rows);
  if (sparse != rows.sparse) {
    throw Error(ErrorKind::kDType, rows.sparse
                                       ? "the model takes sparse rows, and a dense matrix was given"
                                       : "the model takes dense rows, and sparse rows were given");
  }
  const std::int64_t columns =
      sparse ? std::get<CsrView>(request.rows).n_columns : std::get<DenseView>(request.rows).width;
  if (columns != rows.n_columns) {
    throw Error(ErrorKind::kShape, "rows have " + std::to_string(columns) +
                                       " columns, but the model has " +
                                       std::to_string(rows.n_columns) + " features");
  }
  const std::vector<FurtherSpec>& specs = engine_->further();
  if (request.further.size() != specs.size()) {
    throw Error(ErrorKind::kShape, "the model takes " + std::to_string(specs.size()) +
                                       " further inputs, and " +
                                       std::to_string(request.further.size()) + " were given");
  }
  const auto shape = [](std::int64_t n_rows, std::int64_t width) {
    return "(" + std::to_string(n_rows) + ", " + std::to_string(width) + ")";
  };
  const std::int64_t n_rows = row_count(request.rows);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const DenseView& input = request.further[i];
    if (input.n_rows != n_rows || input.width != specs[i].width) {
      throw Error(ErrorKind::kShape, "inputs[\"" + specs[i].name + "\"] has shape " +
                                         shape(input.n_rows, input.width) + ", and " +
                                         shape(n_rows, specs[i].width) + " is needed");
    }
  }
}

Started Predictor::start(Request request) {
  check_shapes(request);
  const auto state = this->state();
  state->calls.fetch_add(1, std::memory_order_relaxed);
  const std::int64_t tile_rows =
      engine_->tile_rows(row_count(request.rows), options_.batch_size, options_.threads);
  const auto run = std::make_shared<Run>(std::move(request), tile_rows, options_.finite);
  const kernels::Kernels& table = kernels::kernels(options_.isa);
  const auto task = [run, state, &table](int slot, std::int64_t item) {
    SessionCounters& counters = state->counters[static_cast<std::size_t>(slot)];
    if (item < run->n_tiles) {
      check_tile(*run, item, state->engine->further(), table, counters);
      if (run->n_tiles > 1) return;
      ++item;
    }
    const bool is_caller = slot == state->caller_slot();
    score_tile(*run, item - run->n_tiles, state->session(slot),
               is_caller && state->options.threads > 1, counters);
    if (is_caller) state->caller_ended_ns.store(now_ns(), std::memory_order_relaxed);
  };
  const std::int64_t n_items = run->n_tiles > 1 ? 2 * run->n_tiles : run->n_tiles;
  if (n_items == 1 && engine_->runs_anywhere() && !state->caller_busy.exchange(true)) {
    const std::shared_ptr<void> turn(nullptr, [state](void*) { state->caller_busy = false; });
    const auto job =
        std::make_shared<Job>(1, [task, turn](int slot, std::int64_t item) { task(slot, item); });
    run->job = job;
    // Where one small call follows another, a worker is kept awake to help.
    constexpr std::int64_t kSoonNs = 200'000;
    if (options_.threads > 1 && !Assist::is_at_hand() &&
        now_ns() - state->caller_ended_ns.load(std::memory_order_relaxed) < kSoonNs) {
      WorkerPool::instance().rouse(state->workers);
    }
    return {job, state->caller_slot()};
  }
  const auto job = std::make_shared<Job>(n_items, task);
  run->job = job;
  if (n_items == 1) {
    WorkerPool::instance().submit_to_one(job, state->workers);
  } else if (n_items > 1) {
    WorkerPool::instance().submit(job, state->workers);
  }
  return {job, -1};
}

Started Predictor::start_check(Request request) {
  check_shapes(request);
  const auto state = this->state();
  const auto run = std::make_shared<Run>(std::move(request), options_.batch_size, options_.finite);
  const kernels::Kernels& table = kernels::kernels(options_.isa);
  const auto job =
      std::make_shared<Job>(run->n_tiles, [run, state, &table](int slot, std::int64_t item) {
        SessionCounters& counters = state->counters[static_cast<std::size_t>(slot)];
        check_tile(*run, item, state->engine->further(), table, counters);
        // Whoever checks the last tile tells the first fault of all.
        if (run->unchecked.load(std::memory_order_acquire) == 0) run->fault.rethrow();
      });
  run->job = job;
  if (run->n_tiles > 0) WorkerPool::instance().submit(job, state->workers);
  return {job, -1};
}

std::shared_ptr<Job> Predictor::start_warm_up() {
  const auto state = this->state();
  const auto n_workers = static_cast<std::int64_t>(state->workers.size());
  // An item a worker: each waits until all have begun, so that none takes two.
  const auto begun = std::make_shared<std::atomic<std::int64_t>>(0);
  const auto job =
      std::make_shared<Job>(n_workers, [state, begun, n_workers](int slot, std::int64_t) {
        begun->fetch_add(1, std::memory_order_acq_rel);
        while (begun->load(std::memory_order_acquire) < n_workers) std::this_thread::yield();
        state->session(slot).warm_up();
        if (slot == 0 && state->engine->runs_anywhere() && !state->caller_busy.exchange(true)) {
          state->session(state->caller_slot()).warm_up();
          state->caller_busy = false;
        }
      });
  WorkerPool::instance().submit(job, state->workers);
  return job;
}

PredictorStats Predictor::stats() const {
  const auto state = this->state();
  PredictorStats stats;
  const auto seconds = [](const std::atomic<std::uint64_t>& ns) {
    return static_cast<double>(ns.load(std::memory_order_relaxed)) * 1e-9;
  };
  stats.calls = state->calls.load(std::memory_order_relaxed);
  for (const SessionCounters& counters : state->counters) {
    stats.rows += counters.rows.load(std::memory_order_relaxed);
    stats.tiles += counters.tiles.load(std::memory_order_relaxed);
    stats.bytes_copied += counters.bytes_copied.load(std::memory_order_relaxed);
    stats.check_seconds += seconds(counters.check_ns);
    stats.fill_seconds += seconds(counters.fill_ns);
    stats.sparse_seconds += seconds(counters.sparse_ns);
    stats.graph_seconds += seconds(counters.graph_ns);
    stats.deliver_seconds += seconds(counters.deliver_ns);
  }
  stats.pool = state->pool->stats();
  return stats;
}

}  // namespace fastprop
