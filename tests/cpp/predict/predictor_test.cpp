#include "fastprop/predict/predictor.hpp"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fastprop/mxnet/csr_aux.hpp"
#include "fastprop/predict/native_engine.hpp"
#include "fastprop/sched/worker_pool.hpp"
#include "predict/fake_mxnet.hpp"
#include "testing.hpp"

namespace {

using namespace fastprop;
using std::chrono::seconds;
using testing::fake_mxnet;
using testing::kFakeFeatures;
using testing::kFakeLabels;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// ---- rows whose scores are known: small whole numbers, so that sums are exact in any order

struct Rows {
  explicit Rows(std::int64_t n, int seed = 0) : n_rows(n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t length = (i * 7 + seed) % 6;  // some are empty
      float sum = 0;
      for (std::int64_t j = 0; j < length; ++j) {
        indices.push_back(static_cast<std::int32_t>((i * 31 + j * 17 + seed) % kFakeFeatures));
        values.push_back(static_cast<float>((i + j + seed) % 9 - 4));
        sum += values.back();
      }
      indptr.push_back(static_cast<std::int64_t>(indices.size()));
      sums.push_back(sum);
    }
  }

  CsrView view() const {
    return {{indptr.data(), IndexType::kInt64},
            {indices.data(), IndexType::kInt32},
            {values.data(), ValueType::kFloat32},
            n_rows,
            kFakeFeatures,
            static_cast<std::int64_t>(indices.size()),
            false};
  }

  float score(std::int64_t row, std::int64_t label) const {
    return static_cast<float>(label) / 4 + static_cast<float>(label + 1) * sums[size(row)];
  }

  bool scored(const std::vector<float>& scores) const {
    for (std::int64_t i = 0; i < n_rows; ++i) {
      for (std::int64_t c = 0; c < kFakeLabels; ++c) {
        if (scores[size(i * kFakeLabels + c)] != score(i, c)) return false;
      }
    }
    return true;
  }

  std::int64_t n_rows;
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> indices;
  std::vector<float> values;
  std::vector<float> sums;
};

// ---- engines that all compute those scores

std::shared_ptr<Engine> native_engine() {
  constexpr std::int64_t kHidden = 4;
  struct Memory {
    std::vector<float> sparse;
    std::vector<float> panels;
    std::vector<float> bias;
  };
  auto memory = std::make_shared<Memory>();
  std::vector<float> dense;
  for (std::int64_t f = 0; f < kFakeFeatures; ++f) {
    for (std::int64_t j = 0; j < kHidden; ++j) memory->sparse.push_back(static_cast<float>(j + 1));
  }
  for (std::int64_t c = 0; c < kFakeLabels; ++c) {
    memory->bias.push_back(static_cast<float>(c) / 4);
    for (std::int64_t j = 0; j < kHidden; ++j) {
      dense.push_back(j == 0 ? static_cast<float>(c + 1) : 0.0F);
    }
  }
  constexpr auto kFloat32 = kernels::WeightType::kFloat32;
  memory->panels.resize(kernels::packed_dense_bytes(kFloat32, kHidden, kFakeLabels) /
                        sizeof(float));
  kernels::pack_dense(kFloat32, dense.data(), kHidden, kHidden, kFakeLabels, memory->panels.data());
  const auto tensor = [](const std::vector<float>& values, mxnet::Shape shape) {
    return Tensor{values.data(), Tensor::Type::kFloat32, std::move(shape)};
  };
  const Operand rows{Place::kRows, 0, 0, 0, kFakeFeatures};
  const Operand hidden{Place::kSlot, 0, kHidden, 0, kHidden};
  Plan plan;
  plan.rows = {true, kFakeFeatures};
  plan.slots = {kHidden};
  plan.n_scores = kFakeLabels;
  StepSpec first{"first", "sparse", "identity", {rows}, hidden, {}, {}};
  first.tensors["weight"] = tensor(memory->sparse, {kFakeFeatures, kHidden});
  StepSpec heads{"heads", "dense", "identity", {hidden}, {Place::kScores, 0, 0, 0, kFakeLabels},
                 {},      {}};
  heads.tensors["panels"] =
      tensor(memory->panels, {static_cast<std::int64_t>(memory->panels.size())});
  heads.tensors["bias"] = tensor(memory->bias, {kFakeLabels});
  plan.steps = {first, heads};
  return NativeEngine::create(std::move(plan), kernels::Isa::kScalar, memory);
}

std::shared_ptr<Engine> whole_graph_engine() {
  fake_mxnet();
  return MxnetEngine::create(testing::fake_spec(true));
}

// The graph behind our own sparse layer, which makes dense rows of sparse ones.
std::shared_ptr<Engine> split_graph_engine() {
  fake_mxnet();
  MxnetSpec spec = testing::fake_spec(false);
  auto memory = std::make_shared<std::pair<std::shared_ptr<const void>, std::vector<float>>>();
  memory->first = spec.owner;
  memory->second.assign(size(kFakeFeatures * kFakeFeatures), 0.0F);
  for (std::int64_t f = 0; f < kFakeFeatures; ++f) {
    memory->second[size(f * (kFakeFeatures + 1))] = 1.0F;
  }
  spec.sparse_layer.emplace();
  spec.sparse_layer->weight = memory->second.data();
  spec.sparse_layer->weight_stride = size(kFakeFeatures);
  spec.sparse_layer->width = size(kFakeFeatures);
  spec.n_features = kFakeFeatures;
  spec.owner = memory;
  return MxnetEngine::create(std::move(spec));
}

using MakeEngine = std::shared_ptr<Engine> (*)();
constexpr MakeEngine kEngines[] = {native_engine, whole_graph_engine, split_graph_engine};

// An engine whose tiles wait for a gate; it counts them.
struct Gate {
  std::atomic<bool> open{false};
  std::atomic<int> begun{0};
  std::atomic<int> finished{0};

  void await_begin() const {
    while (begun.load() == 0) std::this_thread::yield();
  }
};

class GatedSession : public Session {
 public:
  explicit GatedSession(Gate& gate) : gate_(gate) {}
  void warm_up() override {}
  void run(const Tile& tile, const Output& output, SessionCounters&) override {
    gate_.begun.fetch_add(1);
    while (!gate_.open.load()) std::this_thread::yield();
    const auto& out = std::get<ScoreOutput>(output);
    for (std::int64_t i = tile.first; i < tile.first + tile.n_rows; ++i) {
      for (std::int64_t c = 0; c < kFakeLabels; ++c) out.data[i * out.stride + c] = 1.0F;
    }
    gate_.finished.fetch_add(1);
  }

 private:
  Gate& gate_;
};

class GatedEngine : public Engine {
 public:
  explicit GatedEngine(Gate& gate) : gate_(gate) {}
  std::unique_ptr<Session> open_session(std::int64_t, std::shared_ptr<BufferPool>) override {
    return std::make_unique<GatedSession>(gate_);
  }
  RowsSpec rows() const override { return {true, kFakeFeatures}; }
  const std::vector<FurtherSpec>& further() const override { return further_; }
  std::int64_t n_scores() const override { return kFakeLabels; }

 private:
  Gate& gate_;
  std::vector<FurtherSpec> further_;
};

// ---- calls, as the binding makes them

std::vector<float> unscored(const Rows& rows) {
  return std::vector<float>(size(rows.n_rows * kFakeLabels), -1000.0F);
}

void finish(const Started& started) {
  if (started.wait_slot >= 0) started.job->work(started.wait_slot);
  while (!started.job->wait_for(seconds(1))) {
  }
  started.job->rethrow();
}

Started start(Predictor& predictor, const Rows& rows, std::vector<float>& scores) {
  return predictor.start({rows.view(), {}, ScoreOutput{scores.data(), kFakeLabels}, 0});
}

bool predicts(Predictor& predictor, const Rows& rows) {
  auto scores = unscored(rows);
  finish(start(predictor, rows, scores));
  return rows.scored(scores);
}

bool selects(Predictor& predictor, const Rows& rows) {
  constexpr std::int64_t kBest = 2;
  std::vector<float> scores(size(rows.n_rows * kBest));
  std::vector<std::int32_t> indices(size(rows.n_rows * kBest));
  TopKOutput output;
  output.rule.k = kBest;
  output.scores = scores.data();
  output.indices = indices.data();
  finish(predictor.start({rows.view(), {}, output, 0}));
  for (std::int64_t i = 0; i < rows.n_rows; ++i) {
    float best = rows.score(i, 0);
    for (std::int64_t c = 1; c < kFakeLabels; ++c) best = std::max(best, rows.score(i, c));
    if (scores[size(i * kBest)] != best) return false;
    if (rows.score(i, indices[size(i * kBest)]) != best) return false;
  }
  return true;
}

PredictorOptions options(int threads, std::int64_t batch_size) {
  PredictorOptions answer;
  answer.threads = threads;
  answer.batch_size = batch_size;
  return answer;
}

// What has been posted to workers has been done, and what that posts in turn: the end of a job lets
// go of sessions, and those of their engine.
void settle() {
  for (int round = 0; round < 4; ++round) {
    const int n_workers = WorkerPool::instance().size();
    for (int worker = 0; worker < n_workers; ++worker) WorkerPool::run_on(worker, [] {});
  }
}

// Everything has been given back.
void check_fake() {
  settle();
  CHECK(fake_mxnet().handles.load() == 0, "%d handles leak", fake_mxnet().handles.load());
}

// Callers, each known to the fake as one.
template <typename Function>
void callers(int n, const Function& function) {
  testing::in_parallel(n, [&function](int caller) {
    testing::this_thread_is_no_worker();
    function(caller);
  });
}

TEST(predictor, many_callers_on_one) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : kEngines) {
    Predictor predictor(make(), options(3, 16));
    callers(6, [&predictor](int caller) {
      for (int round = 0; round < 12; ++round) {
        const Rows rows((caller * 13 + round * 29) % 90, caller + round);
        CHECK(predicts(predictor, rows), "scores of caller %d", caller);
        CHECK(selects(predictor, rows), "selection of caller %d", caller);
      }
    });
    const auto stats = predictor.stats();
    CHECK(stats.calls == 6 * 12 * 2, "%d calls", static_cast<int>(stats.calls));
  }
  check_fake();
}

// The fake tells binds that overlap, whatever engine they are of.
TEST(predictor, engines_open_side_by_side) {
  testing::this_thread_is_no_worker();
  callers(4, [](int caller) {
    for (int round = 0; round < 10; ++round) {
      for (const MakeEngine make : kEngines) {
        Predictor predictor(make(), options(2, 8));
        CHECK(predicts(predictor, Rows(40 + round, caller)), "scores of caller %d", caller);
      }
    }
  });
  check_fake();
}

TEST(predictor, where_the_layout_of_csr_arrays_is_not_known) {
  testing::this_thread_is_no_worker();
  fake_mxnet().known_layout.store(false);
  mxnet::set_csr_aux_enabled(false);
  {
    Predictor predictor(whole_graph_engine(), options(2, 8));
    callers(3, [&predictor](int caller) {
      for (int round = 0; round < 10; ++round) {
        CHECK(predicts(predictor, Rows(10 * caller + round, round)), "caller %d", caller);
      }
    });
  }
  mxnet::set_csr_aux_enabled(true);
  fake_mxnet().known_layout.store(true);
  check_fake();
}

// Each call in turn, from the first of an engine to the last of a prediction.
TEST(predictor, any_call_of_mxnet_may_fail) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : {whole_graph_engine, split_graph_engine}) {
    for (const bool known_layout : {true, false}) {
      mxnet::set_csr_aux_enabled(known_layout);
      int n_failed = 0;
      for (bool reached = true; reached; ++n_failed) {
        fake_mxnet().fail_call.store(n_failed + 1);
        const int kind = testing::error_kind([make] {
          Predictor predictor(make(), options(2, 8));
          CHECK(predicts(predictor, Rows(20)), "scores of rows that had no error");
        });
        settle();
        reached = fake_mxnet().fail_call.exchange(0) == 0;
        CHECK(kind == (reached ? static_cast<int>(ErrorKind::kEngine) : -1),
              "call %d failed: kind %d", n_failed + 1, kind);
        check_fake();
        if (n_failed > 200) return;
      }
      CHECK(n_failed > 10, "%d calls", n_failed);
    }
  }
  mxnet::set_csr_aux_enabled(true);
}

TEST(predictor, a_head_that_is_not_float32_is_refused) {
  testing::this_thread_is_no_worker();
  fake_mxnet().head_dtype.store(6);
  CHECK(testing::throws(ErrorKind::kEngine,
                        [] {
                          Predictor predictor(whole_graph_engine(), options(2, 8));
                          predicts(predictor, Rows(20));
                        }),
        "a head of 64-bit integers");
  fake_mxnet().head_dtype.store(0);
  check_fake();
}

TEST(predictor, warms_up_while_others_call) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : kEngines) {
    Predictor predictor(make(), options(2, 16));
    callers(3, [&predictor](int caller) {
      for (int round = 0; round < 8; ++round) {
        if (caller == 0) {
          finish({predictor.start_warm_up(), -1});
        } else {
          CHECK(predicts(predictor, Rows(40 + round, caller)), "caller %d", caller);
        }
      }
    });
  }
  check_fake();
}

TEST(predictor, a_bad_row_is_told_and_nothing_is_written) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : kEngines) {
    Predictor predictor(make(), options(3, 8));
    callers(4, [&predictor](int caller) {
      for (int round = 0; round < 10; ++round) {
        Rows rows(100, caller);
        rows.indices.at(size((caller * 53 + round * 19) % 200)) = kFakeFeatures;
        auto scores = unscored(rows);
        CHECK(testing::throws(ErrorKind::kInvalidInput,
                              [&] { finish(start(predictor, rows, scores)); }),
              "an index out of range was scored");
        CHECK(scores == unscored(rows), "the output was written to");
        CHECK(predicts(predictor, Rows(20, round)), "after an error");
      }
    });
  }
  check_fake();
}

TEST(predictor, errors_in_tiles_reach_the_caller_they_belong_to) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : {whole_graph_engine, split_graph_engine}) {
    Predictor predictor(make(), options(3, 8));
    finish({predictor.start_warm_up(), -1});
    std::atomic<int> failed{0};
    fake_mxnet().fail_every.store(7);
    callers(4, [&](int caller) {
      for (int round = 0; round < 30; ++round) {
        bool right = false;
        const int kind =
            testing::error_kind([&] { right = predicts(predictor, Rows(24 + caller, round)); });
        if (kind != -1) failed.fetch_add(1);
        CHECK(kind == -1 ? right : kind == static_cast<int>(ErrorKind::kEngine), "kind %d", kind);
      }
    });
    fake_mxnet().fail_every.store(0);
    CHECK(failed.load() > 0, "no error was injected");
    CHECK(predicts(predictor, Rows(50)), "after errors");
  }
  // A graph that MXNet refuses.
  MxnetSpec refused = testing::fake_spec(true);
  refused.symbol_json = "unknown";
  CHECK(testing::throws(ErrorKind::kEngine, [&] { (void)MxnetEngine::create(refused); }), "bound");
  check_fake();
}

TEST(predictor, close_while_others_predict) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : kEngines) {
    for (int round = 0; round < 5; ++round) {
      Predictor predictor(make(), options(2, 4));
      std::atomic<int> calls{0};
      callers(4, [&](int caller) {
        if (caller == 0) {
          while (calls.load() < 10) std::this_thread::yield();
          predictor.close();
          return;
        }
        const int kind = testing::error_kind([&] {
          for (;;) {
            CHECK(predicts(predictor, Rows(60, caller)), "caller %d", caller);
            calls.fetch_add(1);
          }
        });
        CHECK(kind == static_cast<int>(ErrorKind::kClosed), "kind %d", kind);
      });
      predictor.release();
      CHECK(testing::throws(ErrorKind::kClosed, [&] { (void)predictor.stats(); }), "still open");
    }
  }
  check_fake();
}

TEST(predictor, what_runs_when_it_is_closed_ends_as_usual) {
  Gate gate;
  const Rows rows(40);
  auto scores = unscored(rows);
  auto predictor = std::make_unique<Predictor>(std::make_shared<GatedEngine>(gate), options(2, 4));
  const Started running = start(*predictor, rows, scores);
  gate.await_begin();
  predictor->close();
  CHECK(testing::throws(ErrorKind::kClosed, [&] { start(*predictor, rows, scores); }), "taken");
  predictor.reset();  // the job keeps what it needs
  gate.open.store(true);
  finish(running);
  CHECK(gate.finished.load() == 10, "%d of 10 tiles", gate.finished.load());
  CHECK(scores == std::vector<float>(scores.size(), 1.0F), "rows are missing");
}

TEST(predictor, stop_in_the_middle_leaves_it_usable) {
  Gate gate;
  Predictor predictor(std::make_shared<GatedEngine>(gate), options(2, 4));
  for (int round = 0; round < 5; ++round) {
    gate.open.store(false);
    gate.begun.store(0);
    gate.finished.store(0);
    const Rows rows(400);
    auto scores = unscored(rows);
    const Started running = start(predictor, rows, scores);
    gate.await_begin();
    running.job->stop();
    gate.open.store(true);
    finish(running);
    CHECK(gate.finished.load() <= 2, "%d tiles ran on", gate.finished.load());
    auto again = unscored(rows);
    finish(start(predictor, rows, again));
    CHECK(again == std::vector<float>(again.size(), 1.0F), "round %d", round);
  }
}

TEST(predictor, at_the_cap_a_call_is_right_or_refused) {
  testing::this_thread_is_no_worker();
  PredictorOptions capped = options(2, 256);
  capped.pool_limit = 88 << 10;  // both workers' candidates, and not what four callers lease
  Predictor predictor(native_engine(), capped);
  finish({predictor.start_warm_up(), -1});
  const auto live = predictor.stats().pool.live;
  callers(4, [&predictor](int caller) {
    for (int round = 0; round < 20; ++round) {
      bool right = false;
      const int kind = testing::error_kind([&] {
        const Lease rows_in_the_pool = predictor.lease(size(1000 * caller + 100 * round));
        right = selects(predictor, Rows(300, round));
      });
      CHECK(kind == -1 ? right : kind == static_cast<int>(ErrorKind::kPoolLimit), "kind %d", kind);
    }
  });
  settle();
  CHECK(predictor.stats().pool.live == live, "a refused call keeps memory");
  {
    Lease all = predictor.lease(1);
    std::vector<Lease> more;
    CHECK(testing::throws(ErrorKind::kPoolLimit,
                          [&] {
                            for (;;) more.push_back(predictor.lease(4096));
                          }),
          "no cap");
    CHECK(testing::throws(ErrorKind::kPoolLimit, [&] { selects(predictor, Rows(300)); }), "no cap");
  }
  CHECK(selects(predictor, Rows(300)), "after the memory was given back");
}

TEST(fork, a_child_predicts_and_the_parent_goes_on) {
  testing::this_thread_is_no_worker();
  for (const MakeEngine make : kEngines) {
    Predictor predictor(make(), options(2, 8));
    CHECK(predicts(predictor, Rows(50)), "before the fork");
    std::atomic<bool> stop{false};
    std::thread busy([&] {
      testing::this_thread_is_no_worker();
      while (!stop.load()) CHECK(predicts(predictor, Rows(50, 3)), "in the parent");
    });
    for (int round = 0; round < 3; ++round) {
      CHECK(testing::passes_in_child([&] {
              CHECK(predicts(predictor, Rows(70, round)), "in the child");
              CHECK(selects(predictor, Rows(70, round)), "in the child");
            }),
            "round %d", round);
    }
    stop.store(true);
    busy.join();
    CHECK(predicts(predictor, Rows(50)), "after the forks");
  }
  check_fake();
}

TEST(fork, a_child_finds_the_locks_of_the_library_free) {
  testing::this_thread_is_no_worker();
  auto& fake = fake_mxnet();
  {
    Predictor predictor(whole_graph_engine(), options(2, 8));
    CHECK(predicts(predictor, Rows(50)), "before the fork");
    std::atomic<bool> stop{false};
    fake.locked_ms.store(5);
    std::thread busy([&] {
      testing::this_thread_is_no_worker();
      while (!stop.load()) CHECK(predicts(predictor, Rows(50, 3)), "in the parent");
    });
    for (int round = 0; round < 5; ++round) {
      while (!fake.is_locked.load()) std::this_thread::yield();
      CHECK(testing::passes_in_child(
                [&] { CHECK(predicts(predictor, Rows(20, round)), "in the child"); }),
            "round %d", round);
    }
    stop.store(true);
    busy.join();
    fake.locked_ms.store(0);
    CHECK(predicts(predictor, Rows(50)), "after the forks");
  }
  check_fake();
}

}  // namespace
