// Brief busy waiting: a hand-over between two running threads takes a microsecond this way and
// tens of them through the kernel.
#pragma once

#include <chrono>

namespace fastprop {

inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// True as soon as `ready()` is; false when `time` has passed.
template <typename Ready>
bool spin_until(std::chrono::microseconds time, const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace fastprop
