// Roster: the sites that take part, in the order of their ranks, and the version of that list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace isthmus {

inline constexpr int max_sites = 64;
inline constexpr int max_streams = 32;

struct Member {
  std::string site;
  std::string address;  // "host:port" where its peers may dial it; empty: it cannot be dialled
  int streams = 0;      // data streams it wants on each link; 0: it leaves that to the others
  friend bool operator==(const Member&, const Member&) = default;
};

struct Roster {
  std::uint32_t generation = 0;
  std::uint64_t run = 0;        // random: stale connections of another run do not fit
  std::vector<Member> members;  // sorted by site name: sums have the same order in every run
  friend bool operator==(const Roster&, const Roster&) = default;
};

}  // namespace isthmus
