// A stand-in for libmxnet: the table of functions, behind which there is as much of MXNet as the
// core can see, and whose checks fail for whoever breaks its rules: calls from threads that are not
// workers, two binds at once, one executor on two threads, handles that are not freed.
//
// Its graph takes one input of rows (dense, or CSR) and a bias, and has one head:
//   out[i][c] = bias[c] + (c + 1) * sum of row i
#pragma once

#include <atomic>
#include <memory>

#include "fastprop/predict/mxnet_engine.hpp"

namespace testing {

struct FakeMxnet {
  // Whether CSR arrays lie in memory as those of MXNet 1.9 do, so that they are filled in place.
  std::atomic<bool> known_layout{true};
  // Every n-th forward fails; 0: none.
  std::atomic<int> fail_every{0};
  // The n-th call from now on fails, whichever it is; 0: none.
  std::atomic<int> fail_call{0};
  std::atomic<int> head_dtype{0};              // MXNet's flag of the type of the graph's head
  std::atomic<std::uint32_t> wrapped_type{0};  // the DLDataType of what was wrapped last
  // How long a forward holds a lock of the library's; 0: it takes none.
  std::atomic<int> locked_ms{0};
  std::atomic<bool> is_locked{false};
  std::atomic<int> handles{0};  // alive now
  std::atomic<int> forwards{0};
  std::atomic<int> violations{0};  // of the rules above
};

// Installed at the first call.
FakeMxnet& fake_mxnet();
// Threads that are not workers say so, for the fake to know them.
void this_thread_is_no_worker();

constexpr std::int64_t kFakeFeatures = 50;
constexpr std::int64_t kFakeLabels = 6;

// The graph above, with a bias of c / 4: rows of kFakeFeatures columns, kFakeLabels scores.
fastprop::MxnetSpec fake_spec(bool sparse);

}  // namespace testing
