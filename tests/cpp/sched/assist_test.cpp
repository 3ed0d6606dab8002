#include "fastprop/sched/assist.hpp"

#include "testing.hpp"

namespace {

using fastprop::Assist;

struct Sum {
  long halves[2];

  explicit Sum(long n) {
    Assist::run([this, n](int half) {
      long sum = 0;
      for (long i = half; i < n; i += 2) sum += i;
      halves[half] = sum;
    });
  }
  long whole() const { return halves[0] + halves[1]; }
};

void help_until(const std::atomic<bool>& stop) {
  Assist::begin_spinning();
  while (!stop.load()) Assist::help();
  Assist::end_spinning();
}

TEST(assist, without_a_helper_both_halves_run_here) {
  CHECK(!Assist::is_at_hand(), "nobody spins");
  CHECK(!Assist::help(), "there is nothing to help with");
  CHECK(Sum(1000).whole() == 999 * 500, "a wrong sum");
}

TEST(assist, each_half_runs_once_whoever_runs_it) {
  std::atomic<bool> stop{false};
  std::atomic<int> running{3};
  std::thread helpers([&stop] { testing::in_parallel(2, [&stop](int) { help_until(stop); }); });
  testing::in_parallel(3, [&](int) {
    for (long n = 0; n < 3000; ++n) {
      CHECK(Sum(n).whole() == n * (n - 1) / 2, "n %ld: a wrong sum", n);
    }
    if (running.fetch_sub(1) == 1) stop = true;
  });
  helpers.join();
  CHECK(!Assist::is_at_hand(), "nobody spins any more");
}

TEST(assist, an_offer_whose_helper_sleeps_is_taken_back) {
  Assist::begin_spinning();  // and then never looks
  CHECK(Sum(1000).whole() == 999 * 500, "a wrong sum");
  Assist::end_spinning();
  CHECK(!Assist::help(), "the offer was left");
}

}  // namespace
