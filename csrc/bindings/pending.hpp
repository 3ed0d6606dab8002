// A request under way, as Python sees it: the job and the Python objects whose memory it uses.
// Dropping it stops the job and waits, because those objects go next. In a forked child the job of
// a parent has nobody who works on it: waiting is an error there, and dropping does nothing.
#pragma once

#include "bindings.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "fastprop/sched/fork.hpp"
#include "fastprop/sched/job.hpp"

namespace fastprop::bindings {

class Pending {
 public:
  Pending(std::shared_ptr<Job> job, int wait_slot, py::object owner)
      : job_(std::move(job)), wait_slot_(wait_slot), owner_(std::move(owner)) {}
  Pending(Pending&&) noexcept = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending();

  bool done() const { return job_->done(); }
  // Looks for signals every 50 ms; on one, the tiles not yet begun are skipped.
  void wait();

 private:
  bool is_of_parent() const noexcept { return generation_ != fork_generation(); }

  std::shared_ptr<Job> job_;
  int wait_slot_;  // not below zero: the job is run by wait()
  py::object owner_;
  std::uint64_t generation_ = fork_generation();
};

}  // namespace fastprop::bindings
