#include "pending.hpp"

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
  if (!job_ || job_->done()) return;
  job_->stop();
  if (wait_slot_ >= 0) return;
  wait_until_done(*job_);  // with the GIL, which no worker ever needs: a tile's time at most
}

void Pending::wait() {
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
