// Help with a piece of work of a few microseconds: its two halves run at once if a worker happens
// to be spinning for work, else one after the other. No allocation, no lock, no system call.
// Threads: any may ask for help, and one at a time gets it.
#pragma once

namespace fastprop {

class Assist {
 public:
  // Runs halves(0) and halves(1), which must not throw and must not need each other.
  template <class Halves>
  static void run(const Halves& halves) noexcept {
    run([](const void* context, int half) { (*static_cast<const Halves*>(context))(half); },
        &halves);
  }

  // Whether a worker is spinning, as far as is known.
  static bool is_at_hand() noexcept;

  // For workers: between `begin_spinning` and `end_spinning` they call `help` again and again; true
  // where there was something to help with.
  static void begin_spinning() noexcept;
  static void end_spinning() noexcept;
  static bool help() noexcept;

  // For a forked child, before it has workers.
  static void forget() noexcept;

 private:
  using Half = void (*)(const void* context, int half);

  static void run(Half half, const void* context) noexcept;
};

}  // namespace fastprop
