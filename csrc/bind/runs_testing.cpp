// Whole runs in the simulator, drawn by a seed. Not public.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bind/module.hpp"
#include "simulation/run.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

constexpr std::array sabotages = {"",
                                  "counted_twice",
                                  "dropped",
                                  "flipped",
                                  "twice_applied",
                                  "forgotten_step",
                                  "stale_roster",
                                  "hang",
                                  "two_sides",
                                  "unchecked",
                                  "unsent",
                                  "sent_twice"};

py::dict to_python(const Struck& struck) {
  return py::dict("kind"_a = name_of(struck.kind), "during"_a = struck.while_,
                  "coordinator"_a = struck.coordinator, "harmless"_a = struck.harmless);
}

py::dict run_of_seed(std::uint64_t seed, const std::string& sabotage, bool calm, bool streams,
                     int log_events) {
  RunPlan plan = draw_run(seed, streams);
  constexpr std::uint64_t calm_steps = 10;
  if (calm) plan.blows.clear(), plan.steps_after = calm_steps;
  const auto found = std::ranges::find(sabotages, sabotage);
  if (found == sabotages.end()) throw py::value_error("no such sabotage: " + sabotage);
  plan.sabotage = static_cast<Sabotage>(found - sabotages.begin());
  RunReport report;
  {
    const py::gil_scoped_release release;
    report = simulate_run(plan, log_events);
  }
  py::list struck;
  for (const Struck& one : report.struck) struck.append(to_python(one));
  return py::dict(
      "plan"_a = describe(plan), "together"_a = report.together, "struck"_a = struck,
      "seconds"_a = static_cast<double>(report.ended_ns) / static_cast<double>(second_ns),
      "trace"_a = report.trace, "steps"_a = report.steps, "epochs"_a = report.epochs,
      "checked"_a = report.checked, "processes"_a = report.processes,
      "streams_lost"_a = report.streams.lost, "streams_replaced"_a = report.streams.replaced,
      "frames_again"_a = report.streams.frames_again, "damages"_a = report.streams.damages,
      "sabotaged"_a = report.sabotaged, "broken"_a = report.broken, "lines"_a = report.lines,
      "events"_a = report.events);
}

}  // namespace

void register_runs_testing(py::module_& m) {
  m.def("simulate_run", &run_of_seed, "seed"_a, py::kw_only(), "sabotage"_a = "", "calm"_a = false,
        "streams"_a = true, "log_events"_a = 0);
}

}  // namespace isthmus
