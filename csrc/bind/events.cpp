// What happened to a session, for Python to make sentences of.
#include "session/events.hpp"

#include "bind/errors.hpp"
#include "bind/module.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

std::string_view name_of(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::lost:
      return "lost";
    case Event::Kind::ended:
      return "ended";
    case Event::Kind::streams:
      return "streams";
    case Event::Kind::coordinator:
      return "coordinator";
    case Event::Kind::stream_lost:
      return "stream_lost";
  }
  return "";
}

}  // namespace

// Not the session's, so that whoever waits for news does not keep it open.
void register_events(py::module_& m) {
  py::class_<Events, std::shared_ptr<Events>>(m, "Events").def("next", [](Events& events) {
    std::optional<Event> event;
    {
      const py::gil_scoped_release release;
      event = events.next();
    }
    if (!event) return py::object(py::none());
    return py::object(py::dict("kind"_a = name_of(event->kind), "peer"_a = event->peer,
                               "code"_a = name_of(event->code), "why"_a = event->why,
                               "before"_a = event->before, "now"_a = event->now,
                               "generation"_a = event->generation));
  });
}

}  // namespace isthmus
