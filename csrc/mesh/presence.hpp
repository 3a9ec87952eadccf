// Presence: what a site that takes part in a run says of itself to the coordinator. Call: by which
// sites are called together for the next epoch.
//
// An epoch is one session of a run: sites that are lost leave it, and none ever comes back into it.
// Who joins a run that goes on makes the next epoch with all its members
// (docs/decisions/0016-epochs.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace isthmus {

struct Call {
  std::uint32_t epoch = 0;         // 0: no call
  std::vector<std::string> sites;  // sorted
  friend bool operator==(const Call&, const Call&) = default;
};

enum class Standing : std::uint8_t {
  ready = 1,     // the epoch stands at this site, which has not changed over to it
  training = 2,  // it goes on
  stuck = 3,     // it has lost too many sites to go on
};

struct Presence {
  std::string run;
  std::string site;
  std::uint32_t epoch = 0;
  Standing standing = Standing::training;
  std::uint32_t called = 0;  // the highest epoch that the site was called to; 0: none
  std::uint32_t failed = 0;  // the highest one that it was called to and could not join, or left
  std::uint64_t codec_table = 0;
  std::vector<std::string> roster;  // the last one that it has installed; sorted
  int min_sites = 1;
  std::string favourite;  // with which half of a roster may go on; empty: nobody

  // It can be called to another epoch: nothing is under way.
  bool free() const { return called <= failed || called <= epoch; }
  friend bool operator==(const Presence&, const Presence&) = default;
};

// What a site that waits is told.
struct Waiting {
  std::uint32_t epoch = 0;           // in which the run is
  std::vector<std::string> members;  // who take part, as far as they have said so; sorted
  std::vector<std::string> waiters;  // sorted
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

}  // namespace isthmus
