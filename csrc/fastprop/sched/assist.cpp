#include "fastprop/sched/assist.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "fastprop/sched/spin.hpp"

namespace fastprop {

namespace {

// Lives on the stack of whoever asks: who takes it from `g_offer` touches it until `done`.
struct Offer {
  void (*half)(const void* context, int half);
  const void* context;
  std::atomic<bool> done{false};
};

std::atomic<Offer*> g_offer{nullptr};
std::atomic<int> g_spinning{0};

}  // namespace

bool Assist::is_at_hand() noexcept { return g_spinning.load(std::memory_order_relaxed) > 0; }

void Assist::begin_spinning() noexcept { g_spinning.fetch_add(1, std::memory_order_relaxed); }

void Assist::end_spinning() noexcept { g_spinning.fetch_sub(1, std::memory_order_relaxed); }

void Assist::run(Half half, const void* context) noexcept {
  Offer offer{half, context};
  Offer* found = nullptr;
  const bool offered =
      is_at_hand() && g_offer.compare_exchange_strong(found, &offer, std::memory_order_release,
                                                      std::memory_order_relaxed);
  half(context, 0);
  found = &offer;
  if (!offered || g_offer.compare_exchange_strong(found, nullptr, std::memory_order_relaxed)) {
    half(context, 1);
    return;
  }
  while (!spin_until(std::chrono::microseconds(100),
                     [&offer] { return offer.done.load(std::memory_order_acquire); })) {
    std::this_thread::yield();
  }
}

bool Assist::help() noexcept {
  if (g_offer.load(std::memory_order_relaxed) == nullptr) return false;
  Offer* const offer = g_offer.exchange(nullptr, std::memory_order_acquire);
  if (offer == nullptr) return false;
  offer->half(offer->context, 1);
  offer->done.store(true, std::memory_order_release);
  return true;
}

void Assist::forget() noexcept {
  g_offer.store(nullptr, std::memory_order_relaxed);
  g_spinning.store(0, std::memory_order_relaxed);
}

}  // namespace fastprop
