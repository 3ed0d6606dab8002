#include "fastprop/memory/buffer_pool.hpp"

#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "fastprop/error.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace fastprop {

namespace {

// To AddressSanitizer, what nobody leased of a buffer is out of bounds.
void set_bounds([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes,
                [[maybe_unused]] std::size_t capacity) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(data, bytes);
  __asan_poison_memory_region(static_cast<char*>(data) + bytes, capacity - bytes);
#endif
}

std::size_t size_class(std::size_t bytes, std::size_t smallest) {
  std::size_t index = smallest;
  while ((std::size_t{1} << index) < bytes) ++index;
  return index;
}

}  // namespace

Lease::Lease(Lease&& other) noexcept
    : pool_(std::move(other.pool_)),
      data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    reset();
    pool_ = std::move(other.pool_);
    data_ = std::exchange(other.data_, nullptr);
    capacity_ = std::exchange(other.capacity_, 0);
  }
  return *this;
}

void Lease::reset() noexcept {
  if (data_ != nullptr) pool_->give_back(data_, capacity_);
  data_ = nullptr;
  capacity_ = 0;
  pool_.reset();
}

std::shared_ptr<BufferPool> BufferPool::create(std::uint64_t limit) {
  return std::shared_ptr<BufferPool>(new BufferPool(limit));
}

BufferPool::~BufferPool() {
  if (generation_ == fork_generation()) release_idle();
}

Lease BufferPool::lease(std::size_t bytes) {
  if (bytes > (std::size_t{1} << (kClasses - 1))) {
    throw Error(ErrorKind::kPoolLimit,
                "a buffer of " + std::to_string(bytes) + " bytes cannot be had");
  }
  const std::size_t index = size_class(bytes, kSmallestClass);
  const std::size_t capacity = std::size_t{1} << index;
  std::lock_guard lock(mutex_);
  // Reserved up front, so that giving a buffer back never allocates.
  if (idle_[index].capacity() == 0) idle_[index].reserve(64);
  void* data = nullptr;
  if (!idle_[index].empty()) {
    data = idle_[index].back();
    idle_[index].pop_back();
    ++stats_.reused;
  } else {
    if (stats_.limit != 0 && stats_.owned + capacity > stats_.limit) release_idle();
    if (stats_.limit != 0 && stats_.owned + capacity > stats_.limit) {
      throw Error(ErrorKind::kPoolLimit, "the pool may hold " + std::to_string(stats_.limit) +
                                             " bytes; " + std::to_string(stats_.live) +
                                             " are in use and " + std::to_string(capacity) +
                                             " more were asked for");
    }
    data = std::aligned_alloc(kAlignment, capacity);
    if (data == nullptr) {
      throw Error(ErrorKind::kPoolLimit,
                  "out of memory: " + std::to_string(capacity) + " bytes were asked for");
    }
    stats_.owned += capacity;
    ++stats_.missed;
  }
  stats_.live += capacity;
  if (stats_.live > stats_.peak) stats_.peak = stats_.live;
  set_bounds(data, bytes, capacity);
  return Lease(shared_from_this(), data, capacity);
}

PoolStats BufferPool::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void BufferPool::give_back(void* data, std::size_t capacity) noexcept {
  if (generation_ != fork_generation()) {
    std::free(data);
    return;
  }
  std::lock_guard lock(mutex_);
  stats_.live -= capacity;
  auto& bucket = idle_[size_class(capacity, kSmallestClass)];
  if (bucket.size() == bucket.capacity()) {
    std::free(data);
    stats_.owned -= capacity;
  } else {
    set_bounds(data, 0, capacity);
    bucket.push_back(data);
  }
}

void BufferPool::release_idle() noexcept {
  for (std::size_t index = kSmallestClass; index < kClasses; ++index) {
    for (void* data : idle_[index]) {
      std::free(data);
      stats_.owned -= std::size_t{1} << index;
    }
    idle_[index].clear();
  }
}

}  // namespace fastprop
