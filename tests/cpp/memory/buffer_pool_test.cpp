#include "fastprop/memory/buffer_pool.hpp"

#include <cstring>

#include "testing.hpp"

namespace {

using fastprop::BufferPool;
using fastprop::ErrorKind;
using fastprop::Lease;

constexpr std::size_t kPage = 4096;

TEST(buffer_pool, lends_aligned_memory_and_reuses_it) {
  const auto pool = BufferPool::create(0);
  for (const std::size_t bytes : {0UL, 1UL, kPage, kPage + 1, 3 * kPage, 1UL << 20}) {
    for (int round = 0; round < 2; ++round) {
      const Lease lease = pool->lease(bytes);
      CHECK(lease.capacity() >= bytes, "%zu of %zu", lease.capacity(), bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(lease.data()) % BufferPool::kAlignment == 0, "%p",
            lease.data());
      std::memset(lease.data(), 0x5A, bytes);
    }
  }
  const auto stats = pool->stats();
  CHECK(stats.live == 0 && stats.reused >= 6, "%d reused", static_cast<int>(stats.reused));
  CHECK(stats.owned > 0 && stats.peak == 1U << 20, "peak %d", static_cast<int>(stats.peak));
}

TEST(buffer_pool, many_threads_lend_and_give_back) {
  const auto pool = BufferPool::create(0);
  testing::in_parallel(6, [&pool](int thread) {
    for (int round = 0; round < 200; ++round) {
      const auto bytes = static_cast<std::size_t>((thread * 977 + round * 131) % 40'000);
      Lease first = pool->lease(bytes);
      std::memset(first.data(), thread, bytes);
      Lease second = std::move(first);
      const auto* data = static_cast<const unsigned char*>(second.data());
      for (std::size_t i = 0; i < bytes; i += 997) {
        CHECK(data[i] == thread, "a buffer of two owners");
      }
      if (round % 3 == 0) second.reset();
      pool->stats();
    }
  });
  const auto stats = pool->stats();
  CHECK(stats.live == 0 && stats.reused + stats.missed == 1200, "%d leases",
        static_cast<int>(stats.reused + stats.missed));
}

TEST(buffer_pool, the_cap_holds_whatever_the_number_of_threads) {
  constexpr std::uint64_t kLimit = 16 * kPage;
  const auto pool = BufferPool::create(kLimit);
  std::atomic<int> refused{0};
  testing::in_parallel(4, [&](int) {
    for (int round = 0; round < 100; ++round) {
      std::vector<Lease> held;
      const bool full = testing::throws(ErrorKind::kPoolLimit, [&] {
        for (std::size_t i = 0; i < 20; ++i) held.push_back(pool->lease(kPage << (i % 2)));
      });
      if (full) refused.fetch_add(1);
      CHECK(pool->stats().owned <= kLimit, "more than the cap");
    }
  });
  CHECK(refused.load() == 400, "%d of 400 were refused", refused.load());
  CHECK(pool->stats().live == 0, "a refused lease counts as live");
  const Lease whole = pool->lease(kLimit);  // idle buffers of other sizes make room
  CHECK(whole.capacity() == kLimit, "%zu", whole.capacity());
}

TEST(buffer_pool, refuses_what_no_machine_has) {
  const auto pool = BufferPool::create(0);
  CHECK(testing::throws(ErrorKind::kPoolLimit, [&] { (void)pool->lease(~std::size_t{0}); }),
        "lent everything");
  CHECK(pool->stats().live == 0, "counted");
}

TEST(buffer_pool, a_lease_may_outlive_its_pool) {
  auto pool = BufferPool::create(0);
  Lease lease = pool->lease(100);
  std::thread dropping([own = std::move(pool)]() mutable { own.reset(); });
  std::memset(lease.data(), 1, 100);
  dropping.join();
  lease.reset();
  CHECK(lease.data() == nullptr && lease.capacity() == 0, "still held");
}

TEST(buffer_pool, works_in_a_forked_child) {
  const auto pool = BufferPool::create(8 * kPage);
  const Lease lease = pool->lease(kPage);
  CHECK(testing::passes_in_child([&pool] { const Lease own = pool->lease(kPage); }), "in a child");
}

}  // namespace
