// BoundWork: a Work as Python holds it, with the session whose sites its errors name.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "session/session.hpp"

namespace isthmus {

std::int64_t to_ns(double seconds);

// Waits without the GIL and lets signal handlers run in between. False: `seconds` are over.
bool wait_for(const Work& work, std::optional<double> seconds);

struct BoundWork {
  std::shared_ptr<Work> work;
  std::shared_ptr<Session> session;

  void raise_status(const Status& status) const;
  void wait(std::optional<double> timeout) const;
  bool finite() const { return work->done() && work->outcome().finite; }
  std::pair<std::vector<float>, float> term_sum() const;
  std::vector<int> contributors() const {
    return work->done() ? work->outcome().contributors : std::vector<int>{};
  }
  pybind11::list gathered() const;
};

void register_work(pybind11::module_& m);

}  // namespace isthmus
