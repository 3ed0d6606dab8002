#include "fastprop/sched/job.hpp"

#include <stdexcept>
#include <string>

#include "testing.hpp"

namespace {

using fastprop::Job;
using std::chrono::microseconds;
using std::chrono::seconds;

TEST(job, runs_every_item_once) {
  for (const std::int64_t n : {1, 7, 1000}) {
    std::vector<int> seen(static_cast<std::size_t>(n), 0);  // each written by one thread only
    Job job(n, [&seen](int, std::int64_t item) { ++seen[static_cast<std::size_t>(item)]; });
    std::thread waiting([&job] {
      while (!job.wait_for(seconds(1))) {
      }
    });
    testing::in_parallel(4, [&job](int slot) { job.work(slot); });
    waiting.join();
    CHECK(job.done(), "%d items", static_cast<int>(n));
    for (const int count : seen) CHECK(count == 1, "run %d times", count);
    job.rethrow();
  }
}

TEST(job, without_items_is_done_at_once) {
  Job job(0, [](int, std::int64_t) { CHECK(false, "there is no item"); });
  CHECK(job.done() && job.wait_for(microseconds(0)), "not done");
  job.work(0);
  job.rethrow();
}

TEST(job, a_wait_ends_in_time_and_a_later_one_sees_the_end) {
  Job job(1, [](int, std::int64_t) {});
  CHECK(!job.wait_for(microseconds(1000)), "nobody works on it");
  job.work(0);
  CHECK(job.wait_for(microseconds(0)), "done, and not seen");
}

TEST(job, keeps_one_error_and_skips_what_has_not_begun) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> begun{0};
    Job job(10'000, [&begun](int, std::int64_t item) {
      begun.fetch_add(1);
      if (item % 5 == 3) throw std::runtime_error("item " + std::to_string(item));
    });
    testing::in_parallel(3, [&job](int slot) { job.work(slot); });
    CHECK(job.done() && job.stopped(), "an error ends a job");
    CHECK(begun.load() < 10'000, "nothing was skipped");
    std::string message;
    try {
      job.rethrow();
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message.rfind("item ", 0) == 0, "the error was %s", message.c_str());
  }
}

TEST(job, stop_in_the_middle_skips_the_rest) {
  std::atomic<bool> released{false};
  std::atomic<int> finished{0};
  Job job(1000, [&](int, std::int64_t) {
    while (!released.load()) std::this_thread::yield();
    finished.fetch_add(1);
  });
  std::thread stopper([&] {
    job.stop();
    released.store(true);
    while (!job.wait_for(seconds(1))) {
    }
    CHECK(finished.load() <= 2, "%d items were finished", finished.load());
  });
  testing::in_parallel(2, [&job](int slot) { job.work(slot); });
  stopper.join();
  job.rethrow();
}

}  // namespace
