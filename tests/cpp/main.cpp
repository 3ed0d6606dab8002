// threads_test [SUITE]: runs the cases of a suite, or of all. Exit code 0: passed, 1: failed.

#include <cstring>
#include <exception>

#include "testing.hpp"

int main(int argc, char** argv) {
  int run = 0;
  for (const testing::Case& test : testing::cases()) {
    if (argc > 1 && std::strcmp(argv[1], test.suite) != 0) continue;
    const int before = testing::failures.load();
    try {
      test.run();
    } catch (const std::exception& error) {
      CHECK(false, "an error was not caught: %s", error.what());
    }
    ++run;
    const char* const verdict = testing::failures.load() == before ? "passed" : "FAILED";
    std::printf("%s %s.%s\n", verdict, test.suite, test.name);
    std::fflush(stdout);
  }
  if (run == 0) {
    std::printf("no such suite\n");
    return 2;
  }
  return testing::failures.load() == 0 ? 0 : 1;
}
