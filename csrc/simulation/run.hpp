// simulate_run: the sites of a run in the simulator, process after process and epoch after epoch,
// as a plan says; and what must hold of it.
#pragma once

#include "net/sim.hpp"
#include "simulation/trainer.hpp"

namespace isthmus {

struct Struck {  // a blow that has fallen
  Trouble kind = Trouble::kill;
  std::string while_;        // what the sites were about
  bool coordinator = false;  // it was the coordinator's host
  bool harmless = false;
};

struct RunReport {
  bool together = false;  // at the end all that can be there train in one epoch
  std::int64_t ended_ns = 0;
  std::uint64_t trace = 0;
  std::uint64_t steps = 0;   // of the furthest site
  std::uint32_t epochs = 0;  // the highest one
  std::size_t checked = 0;   // sums that were compared
  int processes = 0;
  StreamCounts streams;
  bool sabotaged = false;
  std::vector<Struck> struck;
  std::vector<std::string> broken;  // what should have held and did not; empty: all is well
  std::vector<std::string> lines;   // what happened
  std::vector<std::string> events;  // the simulator's last ones
};

RunReport simulate_run(const RunPlan& plan, int log_events = 0);

}  // namespace isthmus
