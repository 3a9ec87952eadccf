// run_world: whole sites in the simulator, from joining to goodbye, as a plan says; and what must
// hold afterwards.
//
// One thread, virtual time: the same plan gives the same report. It opens no socket and reads no
// clock.
#pragma once

#include "net/sim.hpp"
#include "simulation/plan.hpp"

namespace isthmus {

struct WorkReport {
  bool begun = false;
  bool done = false;
  Status status;
  std::int64_t begun_ns = 0;
  std::int64_t ended_ns = 0;
  std::vector<std::byte>
      result;             // the caller's memory afterwards; all_gather: the payloads in order
  bool untouched = true;  // the caller's memory is as it was
  std::vector<int> contributors;  // ranks
};

struct SiteReport {
  int rank = 0;
  bool living = true;  // it came, was not killed, and does not stand still for ever
  bool closed = false;
  std::int64_t closed_ns = 0;
  WorkReport joined;
  std::vector<int> ways;               // by rank, once joined: Mesh::ways
  Status failure;                      // of the session
  std::vector<int> roster;             // the last one: ranks
  std::uint64_t again = 0, taken = 0;  // EngineStats: operations_again, operations_taken
  std::vector<WorkReport> works;       // by operation
  // To each site that it had a link to when its last operation was done: its data streams.
  std::vector<std::pair<std::string, int>> streams;
  std::uint64_t streams_lost = 0, streams_replaced = 0, frames_again = 0;  // LinkStats, by then
};

struct WorldReport {
  SimEnd end = SimEnd::reached;
  std::int64_t ended_ns = 0;
  std::uint64_t trace = 0;
  std::uint64_t lies = 0;
  std::vector<SiteReport> sites;
  std::vector<std::string> broken;  // what should have held and did not; empty: all is well
  std::vector<std::string> events;  // the simulator's last ones
};

WorldReport run_world(const WorldPlan& plan, int log_events = 0);

// What does not hold, in sentences (judge.cpp; of worlds where sites carry on, survivors.cpp).
std::vector<std::string> judge(const WorldPlan& plan, const WorldReport& report);
std::vector<std::string> judge_survivors(const WorldPlan& plan, const WorldReport& report);
// By when the last site must have closed.
std::int64_t last_moment_ns(const WorldPlan& plan);

// Rewrites frame headers with fixed-up checks, from `from_ns` on (liar.cpp).
Tamper make_liar(Lie lie, std::uint64_t seed, const Clock& clock, std::int64_t from_ns,
                 std::uint64_t& told);

}  // namespace isthmus
