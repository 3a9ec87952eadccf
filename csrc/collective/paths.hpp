// Paths: what the network between the sites carries, as it was measured, and how long each schedule
// takes over it. Pure; doubles are only added, multiplied, divided and compared, so that all sites
// come to the same answers to the bit.
#pragma once

#include <cstdint>
#include <vector>

#include "collective/schedule.hpp"

namespace isthmus {

// Rates in bytes a second, delays in seconds, one way. Pairs at [from * world + to].
struct Paths {
  int world = 0;
  std::vector<double> uplink;    // by rank: to all others together
  std::vector<double> downlink;  // by rank: from all others together
  std::vector<double> pair;
  std::vector<double> delay;

  double rate(int from, int to) const { return pair[index(from, to)]; }
  double wait(int from, int to) const { return delay[index(from, to)]; }

 private:
  std::size_t index(int from, int to) const { return static_cast<std::size_t>(from * world + to); }
};

// Whether the numbers fit each other: sizes as said, rates above zero, delays not below, all
// finite.
bool sound(const Paths& paths);

// The bytes of a whole input, and of all totals.
struct Load {
  double up = 0;
  double down = 0;
};

// Owners' shares with which `direct` has the least bytes to wait for; empty where an even split is
// as good, but for a twentieth. REQUIRES: sound(paths).
Shares best_shares(const Paths& paths, const Load& load);

// Seconds from the moment that all sites begin until the last one has the result, if the network is
// all that takes time. REQUIRES: sound(paths).
double direct_seconds(const Paths& paths, const Load& load, const Shares& shares, double slice);
double gather_seconds(const Paths& paths, const Load& load);
double ring_seconds(const Paths& paths, const Load& load, double slice);

}  // namespace isthmus
