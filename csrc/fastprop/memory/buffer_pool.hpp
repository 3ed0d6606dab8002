// A pool of 64-byte aligned buffers in power-of-two size classes. Owns every buffer it ever made;
// a Lease gives one back when it ends, also after the pool's last other owner has gone.
// Threads: any. Cost of a hit: one lock. Fails with kPoolLimit beyond the cap; never grows
// silently. In a forked child a lease of the parent's ends by itself, and the pool keeps what else
// it had: a thread that is not there any more may have been changing it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "fastprop/sched/fork.hpp"

namespace fastprop {

struct PoolStats {
  std::uint64_t limit = 0;   // bytes that may be owned at once; 0 = no cap
  std::uint64_t owned = 0;   // bytes held now, leased or idle
  std::uint64_t live = 0;    // bytes leased now
  std::uint64_t peak = 0;    // most bytes ever leased at once
  std::uint64_t reused = 0;  // leases served from idle buffers
  std::uint64_t missed = 0;  // leases that had to allocate
};

class BufferPool;

// Move-only ownership of one buffer; its memory is uninitialised.
class Lease {
 public:
  Lease() noexcept = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { reset(); }

  void* data() const noexcept { return data_; }
  template <typename T>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }
  std::size_t capacity() const noexcept { return capacity_; }
  void reset() noexcept;

 private:
  friend class BufferPool;
  Lease(std::shared_ptr<BufferPool> pool, void* data, std::size_t capacity) noexcept
      : pool_(std::move(pool)), data_(data), capacity_(capacity) {}

  std::shared_ptr<BufferPool> pool_;
  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static constexpr std::size_t kAlignment = 64;

  static std::shared_ptr<BufferPool> create(std::uint64_t limit);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `bytes` bytes. Idle buffers of other sizes are released before the cap is reported.
  Lease lease(std::size_t bytes);
  PoolStats stats() const;

 private:
  static constexpr std::size_t kSmallestClass = 12;  // 4 KiB
  static constexpr std::size_t kClasses = 52;

  explicit BufferPool(std::uint64_t limit) { stats_.limit = limit; }
  friend class Lease;
  void give_back(void* data, std::size_t capacity) noexcept;
  void release_idle() noexcept;

  const std::uint64_t generation_ = fork_generation();
  mutable ForkSafeMutex mutex_;
  std::array<std::vector<void*>, kClasses> idle_;
  PoolStats stats_;
};

}  // namespace fastprop
