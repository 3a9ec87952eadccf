// BoundWork: an operation in flight as Python sees it, with the session that it belongs to.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "session/session.hpp"

namespace isthmus {

struct BoundWork {
  std::shared_ptr<Work> work;
  std::shared_ptr<Session> session;

  void wait(std::optional<double> timeout) const;
  bool finite() const;
  std::pair<std::vector<float>, float> term_sum() const;
  std::vector<int> contributors() const;
  pybind11::list gathered() const;
  void raise_status(const Status& status) const;
};

// Waits without the GIL and lets signal handlers run in between. False: `seconds` are over.
bool wait_for(const Work& work, std::optional<double> seconds);
void register_work(pybind11::module_& m);

}  // namespace isthmus
