#include "pending.hpp"

#include "fastprop/error.hpp"
#include "gil.hpp"

namespace fastprop::bindings {

namespace {

constexpr std::chrono::milliseconds kSignalInterval{50};

void wait_until_done(Job& job) {
  while (!job.wait_for(std::chrono::seconds(1))) {
  }
}

}  // namespace

Pending::~Pending() {
  if (!job_) return;
  if (is_of_parent()) {
    // Left as it is: what threads that are not here have held and waited on cannot be taken apart.
    new std::shared_ptr<Job>(std::move(job_));
    return;
  }
  if (job_->done()) return;
  job_->stop();
  if (wait_slot_ >= 0) return;
  wait_until_done(*job_);  // with the GIL, which no worker ever needs: a tile's time at most
}

void Pending::wait() {
  if (is_of_parent() && !job_->done()) {
    throw Error(ErrorKind::kEngine,
                "the request was under way when this process was forked, and stays the parent's");
  }
  if (wait_slot_ >= 0 && !job_->done()) {
    const ReleasedGil released;
    job_->work(wait_slot_);
  }
  for (;;) {
    bool done = false;
    {
      const ReleasedGil released;
      done = job_->wait_for(kSignalInterval);
    }
    if (done) break;
    if (PyErr_CheckSignals() != 0) {
      job_->stop();
      {
        const ReleasedGil released;
        wait_until_done(*job_);
      }
      throw py::error_already_set();
    }
  }
  job_->rethrow();
}

void register_pending(py::module_& module) {
  py::class_<Pending>(module, "Pending")
      .def_property_readonly("done", &Pending::done)
      .def("wait", &Pending::wait);
}

}  // namespace fastprop::bindings
