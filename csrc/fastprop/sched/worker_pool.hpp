// The process's worker threads. They start on demand and never end, because a thread that has
// touched MXNet leaks its stores when it ends; all predictors share them. MXNet runs on them only.
// A forked child has none of its parent's threads and gets a pool of its own at first use.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "fastprop/sched/fork.hpp"
#include "fastprop/sched/job.hpp"

namespace fastprop {

class WorkerPool {
 public:
  static WorkerPool& instance();

  // Picks the `count` least reserved workers, starting new ones while the machine has processors
  // for them. The answer maps a predictor's slots to workers.
  std::vector<int> reserve(int count);
  void release(const std::vector<int>& workers);

  // Gives the job to every worker of `workers`; the position there is the slot it works as.
  void submit(const std::shared_ptr<Job>& job, const std::vector<int>& workers);
  // Gives the job to the one of `workers` that has least to do.
  void submit_to_one(const std::shared_ptr<Job>& job, const std::vector<int>& workers);

  // Lets one of `workers`, if it sleeps, spin for a while to help (see Assist).
  void rouse(const std::vector<int>& workers);

  // Runs `function` on a worker and waits; its exception is rethrown here.
  static void run_on(int worker, std::function<void()> function);
  // Runs `function` on a worker some time later. For releasing what belongs to worker threads.
  void post(int worker, std::function<void()> function);

  // The process is about to end: waits until the workers have nothing left to do, and from now on
  // `post` waits as well. What MXNet has given must have gone when its library is taken down.
  static void leave();

  int size() const;

 private:
  class Worker;
  friend class PerProcess<WorkerPool>;

  WorkerPool() = default;
  void grow(int size);
  void await_idle() const;

  mutable ForkSafeMutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<int> reservations_;
};

}  // namespace fastprop
