#include "fastprop/sched/worker_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <numeric>
#include <thread>
#include <utility>

#include "fastprop/sched/assist.hpp"
#include "fastprop/sched/cpu_count.hpp"
#include "fastprop/sched/spin.hpp"

namespace fastprop {

namespace {

constexpr std::chrono::microseconds kSpinBeforeParking{50};
constexpr std::chrono::microseconds kSpinForAssist{200};
constexpr std::size_t kMaxWorkers = 1024;
constexpr std::chrono::seconds kLongestLeave{30};

std::atomic<bool> g_leaving{false};
thread_local bool t_is_worker = false;

struct Assignment {
  std::shared_ptr<Job> job;
  int slot;
};

}  // namespace

class WorkerPool::Worker {
 public:
  Worker() { std::thread(&Worker::loop, this).detach(); }

  void push(Assignment assignment) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(assignment));
      waiting_.store(queue_.size(), std::memory_order_release);
    }
    awake_.notify_one();
  }

  void rouse() {
    {
      std::lock_guard lock(mutex_);
      roused_ = true;
    }
    awake_.notify_one();
  }

  std::size_t load() const noexcept {
    return waiting_.load(std::memory_order_acquire) +
           (busy_.load(std::memory_order_acquire) ? 1 : 0);
  }

 private:
  void loop() {
    t_is_worker = true;
    for (;;) {
      {
        // Ends before the worker counts as idle: the job may hold the last of something.
        const Assignment next = pop();
        next.job->work(next.slot);
      }
      busy_.store(false, std::memory_order_release);
    }
  }

  // Waits for an assignment and helps meanwhile; until neither has come for `time`.
  void spin(std::chrono::microseconds time) {
    bool helped = false;
    Assist::begin_spinning();
    do {
      spin_until(time, [this, &helped] {
        helped = Assist::help();
        return helped || waiting_.load(std::memory_order_acquire) != 0;
      });
      time = kSpinForAssist;
    } while (std::exchange(helped, false));
    Assist::end_spinning();
  }

  Assignment pop() {
    spin(kSpinBeforeParking);
    std::unique_lock lock(mutex_);
    while (queue_.empty()) {
      awake_.wait(lock, [this] { return !queue_.empty() || roused_; });
      if (!std::exchange(roused_, false)) continue;
      lock.unlock();
      spin(kSpinForAssist);
      lock.lock();
    }
    Assignment next = std::move(queue_.front());
    queue_.pop_front();
    busy_.store(true, std::memory_order_release);
    waiting_.store(queue_.size(), std::memory_order_release);
    return next;
  }

  std::mutex mutex_;
  std::condition_variable awake_;
  std::deque<Assignment> queue_;
  std::atomic<std::size_t> waiting_{0};
  bool roused_ = false;
  std::atomic<bool> busy_{false};
};

WorkerPool& WorkerPool::instance() {
  // Never freed: detached workers may still be parked in it when the process exits.
  static auto* pools = new PerProcess<WorkerPool>;
  return pools->get();
}

void WorkerPool::grow(int size) {
  while (static_cast<int>(workers_.size()) < size && workers_.size() < kMaxWorkers) {
    workers_.push_back(std::make_unique<Worker>());
    reservations_.push_back(0);
  }
}

std::vector<int> WorkerPool::reserve(int count) {
  std::lock_guard lock(mutex_);
  const int reserved = std::accumulate(reservations_.begin(), reservations_.end(), 0);
  grow(std::max(count, std::min(reserved + count, cpu_count())));
  std::vector<int> order(workers_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [this](int a, int b) {
    return reservations_[static_cast<std::size_t>(a)] < reservations_[static_cast<std::size_t>(b)];
  });
  order.resize(std::min(order.size(), static_cast<std::size_t>(count)));
  for (const int worker : order) ++reservations_[static_cast<std::size_t>(worker)];
  return order;
}

void WorkerPool::release(const std::vector<int>& workers) {
  std::lock_guard lock(mutex_);
  for (const int worker : workers) --reservations_[static_cast<std::size_t>(worker)];
}

void WorkerPool::submit(const std::shared_ptr<Job>& job, const std::vector<int>& workers) {
  std::lock_guard lock(mutex_);
  int slot = 0;
  for (const int worker : workers) workers_[static_cast<std::size_t>(worker)]->push({job, slot++});
}

void WorkerPool::submit_to_one(const std::shared_ptr<Job>& job, const std::vector<int>& workers) {
  std::lock_guard lock(mutex_);
  std::size_t best = 0;
  std::size_t least = workers_[static_cast<std::size_t>(workers[0])]->load();
  for (std::size_t slot = 1; slot < workers.size() && least != 0; ++slot) {
    const std::size_t load = workers_[static_cast<std::size_t>(workers[slot])]->load();
    if (load < least) {
      best = slot;
      least = load;
    }
  }
  workers_[static_cast<std::size_t>(workers[best])]->push({job, static_cast<int>(best)});
}

void WorkerPool::rouse(const std::vector<int>& workers) {
  std::lock_guard lock(mutex_);
  workers_[static_cast<std::size_t>(workers[0])]->rouse();
}

void WorkerPool::run_on(int worker, std::function<void()> function) {
  auto job = std::make_shared<Job>(1, [&function](int, std::int64_t) { function(); });
  instance().submit(job, {worker});
  while (!job->wait_for(std::chrono::seconds(1))) {
  }
  job->rethrow();
}

void WorkerPool::post(int worker, std::function<void()> function) {
  auto job =
      std::make_shared<Job>(1, [function = std::move(function)](int, std::int64_t) { function(); });
  submit(job, {worker});
  if (g_leaving.load(std::memory_order_acquire) && !t_is_worker) await_idle();
}

void WorkerPool::leave() {
  g_leaving.store(true, std::memory_order_release);
  instance().await_idle();
}

void WorkerPool::await_idle() const {
  const auto end = std::chrono::steady_clock::now() + kLongestLeave;
  while (std::chrono::steady_clock::now() < end) {
    {
      std::lock_guard lock(mutex_);
      if (std::all_of(workers_.begin(), workers_.end(),
                      [](const auto& worker) { return worker->load() == 0; })) {
        return;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

int WorkerPool::size() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(workers_.size());
}

}  // namespace fastprop
