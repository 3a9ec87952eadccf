// Paths: what the network between the sites carries, as it was measured, and how long each schedule
// takes over it. Pure; doubles are only added, multiplied, divided and compared, so that all sites
// come to the same answers to the bit.
//
// Two sites that cannot connect to each other exchange data by way of a third one: what the one
// sends then leaves the third one's uplink as well, and comes in by its downlink.
#pragma once

#include <cstdint>
#include <vector>

#include "collective/schedule.hpp"

namespace isthmus {

// Rates in bytes a second, delays in seconds, one way. Pairs at [from * world + to].
struct Paths {
  static constexpr int nobody = -1;

  int world = 0;
  std::vector<double> uplink;    // by rank: to all others together
  std::vector<double> downlink;  // by rank: from all others together
  std::vector<double> pair;
  std::vector<double> delay;
  // By way of whom a pair exchanges data, or nobody; none: all pairs are connected. What `pair` and
  // `delay` have for a pair that is not does not count: its hops do.
  std::vector<int> relays{};

  int by_way_of(int from, int to) const { return relays.empty() ? nobody : relays[at(from, to)]; }
  double rate(int from, int to) const;
  double wait(int from, int to) const;

  // Calls `pass(a, b)` for each link that carries what `from` sends to `to`.
  template <class Pass>
  void over_hops(int from, int to, Pass pass) const {
    const int by = by_way_of(from, to);
    if (by == nobody) return pass(from, to);
    pass(from, by);
    pass(by, to);
  }

  std::size_t at(int from, int to) const { return static_cast<std::size_t>(from * world + to); }
};

// Whether the numbers fit each other: sizes as said, rates above zero, delays not below, all
// finite, and third sites that are neither end.
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
// all that takes time; of a ring in tour.hpp. REQUIRES: sound(paths).
double direct_seconds(const Paths& paths, const Load& load, const Shares& shares, double slice);
double gather_seconds(const Paths& paths, const Load& load);

}  // namespace isthmus
