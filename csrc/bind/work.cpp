#include "bind/work.hpp"

#include <pybind11/stl.h>

#include <algorithm>

#include "bind/errors.hpp"

namespace isthmus {

namespace py = pybind11;
using py::literals::operator""_a;

namespace {

constexpr std::int64_t signal_check_ns = 100 * millisecond_ns;

}  // namespace

std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * 1e9);
}

bool wait_for(const Work& work, std::optional<double> seconds) {
  const SteadyClock clock;
  constexpr double for_ever = 1e9;
  const std::int64_t end =
      seconds && *seconds < for_ever ? clock.now_ns() + to_ns(*seconds) : never_ns;
  while (true) {
    bool done = false;
    {
      const py::gil_scoped_release release;
      done = work.wait(std::clamp<std::int64_t>(end - clock.now_ns(), 0, signal_check_ns));
    }
    if (done) return true;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (clock.now_ns() >= end) return false;
  }
}

void BoundWork::raise_status(const Status& status) const {
  const auto& members = session->roster().members;
  const auto peer = static_cast<std::size_t>(status.peer);
  raise(status, status.peer >= 0 && peer < members.size() ? members[peer].site : "");
}

void BoundWork::wait(std::optional<double> timeout) const {
  if (auto s = session->usable(); !s.ok()) raise(s);
  if (!wait_for(*work, timeout))
    raise(timed_out("operation #" + std::to_string(work->operation()) + " is not done after " +
                    std::to_string(*timeout) + " s; it goes on"));
  if (const Status& status = work->outcome().status; !status.ok()) raise_status(status);
}

std::pair<std::vector<float>, float> BoundWork::term_sum() const {
  if (!work->done()) raise(refused("the operation is not done"));
  return {work->outcome().term_sum.weights, work->outcome().term_sum.divisor};
}

py::list BoundWork::gathered() const {
  wait(std::nullopt);
  py::list out;
  for (const auto& bytes : work->outcome().gathered)
    out.append(py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  return out;
}

void register_work(py::module_& m) {
  py::class_<BoundWork>(m, "Work")
      .def_property_readonly("operation", [](const BoundWork& w) { return w.work->operation(); })
      .def_property_readonly("contributors", &BoundWork::contributors)
      .def_property_readonly("finite", &BoundWork::finite)
      .def_property_readonly("term_sum", &BoundWork::term_sum)
      .def("done", [](const BoundWork& w) { return w.work->done(); })
      .def("wait", &BoundWork::wait, "timeout"_a = py::none())
      .def("gathered", &BoundWork::gathered)
      .def("notify", [](const BoundWork& w) { w.session->announce_done(w.work); });
}

}  // namespace isthmus
