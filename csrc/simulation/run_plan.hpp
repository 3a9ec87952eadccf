// RunPlan: a run of isthmus from its first process to its last, as data: who the sites are, how
// they train, what goes wrong and when, and who comes back. Drawn by a seed.
//
// A world (plan.hpp) is one session; a run is epoch after epoch of them, with all that is between.
#pragma once

#include <string>
#include <vector>

#include "simulation/plan.hpp"

namespace isthmus {

// What a site passes on its way, so that something can go wrong just then.
enum class Milestone {
  none,
  came,       // its process has begun
  joined,     // it stands in its first epoch
  noticed,    // that somebody is lost
  installed,  // a smaller roster
  stuck,      // too few are left, and it waits for others
  called,     // to the next epoch
  met,        // all have come to the next epoch's rendezvous
  ready,      // the next epoch stands here
  changed,    // over to it
  handing,    // a state is on its way
  agreed,     // all hold the same state
  trained,    // one more step
};

struct BlowPlan {
  TroublePlan what;  // coordinator_killed: for_ns is until the next one is started
  // Else what.at_ns counts from when this is passed for the nth time, by whichever site.
  Milestone after = Milestone::none;
  int nth = 1;
  bool there = false;  // its site is the one that has passed it
};

// Mistakes that a test makes on purpose, to see that they are found.
enum class Sabotage {
  none,
  counted_twice,   // a site's input in one operation
  dropped,         // the same
  flipped,         // a bit of one site's result
  twice_applied,   // a step, at one site
  forgotten_step,  // by the site that hands over its state
  stale_roster,    // of one site in one epoch
  hang,            // of one site, while it trains
  two_sides,       // too few go on all the same
  // Of all sites, on the wire (tampering.hpp).
  unchecked,  // no payload's checksum is looked at
  unsent,     // what a dead stream lost is not sent again
  sent_twice  // nor is only what it lost
};

struct RunPlan {
  WorldPlan world;      // sites, net and policy; no operations and no troubles
  bool serves = false;  // the first site's process runs the coordinator, and takes it along
  bool fixed_ports = true;
  bool orderly = true;         // processes that fail close their sessions before they end
  bool checks = true;          // the state is compared at every step
  int operations = 1;          // of a step
  std::uint64_t elements = 1;  // of an operation, at most
  std::uint64_t parameters = 1;
  std::size_t chunk_bytes = 1;    // of a state that is handed over
  std::int64_t think_ns = 0;      // between two operations, at most
  std::int64_t absence_ns = 0;    // of a process that has ended, at most
  std::vector<int> lives;         // by site: how many processes it has in all; -1: without limit
  std::uint64_t steps_after = 3;  // that all do together when all is over
  std::vector<BlowPlan> blows;
  Sabotage sabotage = Sabotage::none;

  int coordinator_host() const { return serves ? 0 : world.world(); }
};

// `streams` false: without what happens to single data streams.
RunPlan draw_run(std::uint64_t seed, bool streams = true);
std::vector<std::string> describe(const RunPlan& plan);

// Whether nobody may be lost by it.
bool harmless(const BlowPlan& blow, const RunPlan& plan);

const char* name_of(Trouble kind);
const char* name_of(Milestone milestone);

}  // namespace isthmus
