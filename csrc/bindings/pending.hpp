// A request under way, as Python sees it: the job and the Python objects whose memory it uses.
// Dropping it stops the job and waits, because those objects go next.
#pragma once

#include "bindings.hpp"

#include <chrono>
#include <memory>
#include <utility>

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
  std::shared_ptr<Job> job_;
  int wait_slot_;  // not below zero: the job is run by wait()
  py::object owner_;
};

}  // namespace fastprop::bindings
