// What the tests of threads share: checks that count from any thread, and named cases.
//
//   TEST(job, runs_every_item_once) { CHECK(1 + 1 == 2, "arithmetic is off by %d", 1); }
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "fastprop/error.hpp"

#if defined(FASTPROP_COUNTED)
extern "C" void __gcov_dump();
#endif

namespace testing {

inline std::atomic<int> failures{0};

struct Case {
  const char* suite;
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registered {
  Registered(const char* suite, const char* name, void (*run)()) {
    cases().push_back({suite, name, run});
  }
};

#define TEST(suite, name)                                                                        \
  static void suite##_##name();                                                                  \
  static const ::testing::Registered registered_##suite##_##name(#suite, #name, suite##_##name); \
  static void suite##_##name()

#define CHECK(condition, ...)                                     \
  do {                                                            \
    if (!(condition) && ++::testing::failures <= 20) {            \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (false)

// The kind of the Error that `function` throws, or -1 where it throws none.
template <typename Function>
int error_kind(const Function& function) {
  try {
    function();
  } catch (const fastprop::Error& error) {
    return static_cast<int>(error.kind());
  }
  return -1;
}

inline bool throws(fastprop::ErrorKind kind, const std::function<void()>& function) {
  return error_kind(function) == static_cast<int>(kind);
}

// `n_threads` threads that all begin at once and have ended when this returns.
template <typename Function>
void in_parallel(int n_threads, const Function& function) {
  std::atomic<int> waiting{n_threads};
  std::vector<std::thread> threads;
  for (int i = 0; i < n_threads; ++i) {
    threads.emplace_back([&, i] {
      waiting.fetch_sub(1);
      while (waiting.load() != 0) std::this_thread::yield();
      function(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Runs `function` in a forked child, which an alarm ends should it hang. True: no check failed.
template <typename Function>
bool passes_in_child(const Function& function) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const int before = failures.load();
    function();
    std::fflush(stdout);
#if defined(FASTPROP_COUNTED)
    __gcov_dump();  // what _exit leaves out
#endif
    _exit(failures.load() == before ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace testing
