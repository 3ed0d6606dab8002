#include "fastprop/sched/worker_pool.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "testing.hpp"

namespace {

using fastprop::Job;
using fastprop::WorkerPool;
using std::chrono::seconds;

void wait(Job& job) {
  while (!job.wait_for(seconds(1))) {
  }
}

TEST(worker_pool, reserves_the_least_reserved) {
  WorkerPool& pool = WorkerPool::instance();
  const auto first = pool.reserve(3);
  const auto second = pool.reserve(3);
  CHECK(first.size() == 3 && second.size() == 3, "%zu and %zu", first.size(), second.size());
  auto distinct = first;
  std::sort(distinct.begin(), distinct.end());
  CHECK(std::unique(distinct.begin(), distinct.end()) == distinct.end(), "one worker twice");
  pool.release(first);
  const auto third = pool.reserve(3);
  if (pool.size() >= 6) CHECK(third == first, "what is free was not taken");
  pool.release(second);
  pool.release(third);
  const int size = pool.size();
  for (int i = 0; i < 100; ++i) pool.release(pool.reserve(3));
  CHECK(pool.size() == size, "grew from %d to %d", size, pool.size());
}

TEST(worker_pool, many_callers_share_the_workers) {
  WorkerPool& pool = WorkerPool::instance();
  testing::in_parallel(6, [&pool](int caller) {
    const auto workers = pool.reserve(1 + caller % 3);
    for (int round = 0; round < 50; ++round) {
      const std::int64_t n_items = 1 + round % 9;
      std::atomic<std::int64_t> sum{0};
      const auto job = std::make_shared<Job>(n_items, [&](int slot, std::int64_t item) {
        CHECK(slot >= 0 && slot < static_cast<int>(workers.size()), "slot %d", slot);
        sum.fetch_add(item + 1);
      });
      if (n_items == 1) {
        pool.submit_to_one(job, workers);
      } else {
        pool.submit(job, workers);
      }
      wait(*job);
      CHECK(sum.load() == n_items * (n_items + 1) / 2, "items lost or doubled");
    }
    pool.release(workers);
  });
}

TEST(worker_pool, runs_and_posts_on_one_worker) {
  WorkerPool& pool = WorkerPool::instance();
  const auto workers = pool.reserve(2);
  std::thread::id first;
  WorkerPool::run_on(workers[0], [&first] { first = std::this_thread::get_id(); });
  CHECK(first != std::this_thread::get_id(), "ran on the caller's thread");
  int order = 0;  // written on one worker, read after it has run everything before
  for (int i = 0; i < 20; ++i) {
    pool.post(workers[0], [&order, i] { order = order == i ? i + 1 : -1; });
  }
  std::thread::id again;
  WorkerPool::run_on(workers[0], [&again] { again = std::this_thread::get_id(); });
  CHECK(order == 20 && first == again, "what was posted ran out of order");
  bool caught = false;
  try {
    WorkerPool::run_on(workers[1], [] { throw std::runtime_error("from a worker"); });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  CHECK(caught, "the error of a worker was lost");
  pool.release(workers);
}

TEST(worker_pool, one_item_goes_to_a_worker_that_is_free) {
  WorkerPool& pool = WorkerPool::instance();
  const auto workers = pool.reserve(2);
  bool given_to_the_free = false;
  // A worker counts as busy for a moment after its last job: not every attempt finds it free.
  for (int attempt = 0; attempt < 20 && !given_to_the_free; ++attempt) {
    std::atomic<bool> released{false};
    const auto blocking = std::make_shared<Job>(1, [&released](int, std::int64_t) {
      while (!released.load()) std::this_thread::yield();
    });
    pool.submit(blocking, {workers[0]});
    std::this_thread::sleep_for(std::chrono::milliseconds(attempt));
    std::atomic<int> slot{-1};
    const auto job =
        std::make_shared<Job>(1, [&slot](int given, std::int64_t) { slot.store(given); });
    pool.submit_to_one(job, workers);
    given_to_the_free = job->wait_for(std::chrono::milliseconds(200)) && slot.load() == 1;
    released.store(true);
    wait(*blocking);
    wait(*job);
  }
  CHECK(given_to_the_free, "always given to the worker that is busy");
  pool.release(workers);
}

TEST(fork, a_child_has_workers_of_its_own) {
  WorkerPool& pool = WorkerPool::instance();
  const auto workers = pool.reserve(2);
  std::atomic<bool> released{false};
  const auto busy = std::make_shared<Job>(2, [&released](int, std::int64_t) {
    while (!released.load()) std::this_thread::yield();
  });
  pool.submit(busy, workers);
  for (int round = 0; round < 3; ++round) {
    CHECK(testing::passes_in_child([&pool] {
            WorkerPool& own = WorkerPool::instance();
            CHECK(&own != &pool && own.size() == 0, "the parent's pool");
            const auto reserved = own.reserve(2);
            int value = 0;
            WorkerPool::run_on(reserved[1], [&value] { value = 5; });
            CHECK(value == 5, "nothing ran");
          }),
          "round %d", round);
  }
  released.store(true);
  wait(*busy);
  pool.release(workers);
}

TEST(fork, waits_for_calls_of_other_threads_and_not_for_its_own) {
  using fastprop::ForeignCall;
  ForeignCall::hold_at_forks();
  std::atomic<bool> within{false};
  std::atomic<bool> ended{false};
  std::thread other([&] {
    const ForeignCall call;
    const ForeignCall inner;
    within.store(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ended.store(true);
  });
  while (!within.load()) std::this_thread::yield();
  CHECK(testing::passes_in_child([&] { CHECK(ended.load(), "a call was under way"); }), "a child");
  other.join();

  const auto start = std::chrono::steady_clock::now();
  {
    const ForeignCall call;
    CHECK(testing::passes_in_child([&] {
            CHECK(testing::passes_in_child([] { const ForeignCall own; }), "within a call");
          }),
          "a child");
  }
  CHECK(testing::passes_in_child([] { const ForeignCall own; }), "after the call");
  CHECK(std::chrono::steady_clock::now() - start < ForeignCall::kLongestWait, "it waited");
}

TEST(worker_pool, a_mutex_that_a_lost_thread_held_is_free_in_the_child) {
  fastprop::ForkSafeMutex mutex;
  std::atomic<bool> held{false};
  std::atomic<bool> released{false};
  std::thread holder([&] {
    const std::lock_guard lock(mutex);
    held.store(true);
    while (!released.load()) std::this_thread::yield();
  });
  while (!held.load()) std::this_thread::yield();
  const auto generation = fastprop::fork_generation();
  CHECK(testing::passes_in_child([&] {
          CHECK(fastprop::fork_generation() == generation + 1, "the fork was not counted");
          const std::lock_guard lock(mutex);
        }),
        "a child that hung or failed");
  CHECK(fastprop::fork_generation() == generation, "counted in the parent");
  released.store(true);
  holder.join();
}

}  // namespace
