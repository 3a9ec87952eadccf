// Gathering: the sites of one run, from the first that joins until the last has left. For the
// coordinator only.
//
// Decides who may take a seat; knows guests (connections) by number and never touches one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mesh/messages.hpp"

namespace isthmus {

using GuestId = std::uint64_t;
inline constexpr GuestId no_guest = 0;

struct Seat {
  Member member;
  std::uint64_t ticket = 0;
  GuestId guest = no_guest;  // no_guest: the site is gone
  std::string from;          // where its connection comes from
};

class Gathering {
 public:
  // The first site decides what the others must agree on.
  explicit Gathering(const JoinRequest& first)
      : id_(first.run), sites_(first.sites), codec_table_(first.codec_table), call_(first.call) {}

  // Why this site may not take part, or ok.
  Status objection(const JoinRequest& request) const;

  // The seat that this process held before its connection broke, or nullptr.
  Seat* seat_of(const JoinRequest& request);
  // REQUIRES: objection(…) is ok, or seat_of(…) is that seat. Returns the guest that sat there
  // before.
  GuestId seat(const JoinRequest& request, GuestId guest, const std::string& from);
  // Before completion the seat is free again, afterwards it stays with its name.
  void vacate(GuestId guest);

  bool full() const { return static_cast<int>(seats_.size()) == sites_; }
  bool complete() const { return number_ != 0; }
  // REQUIRES: full() and number != 0.
  void complete_as(std::uint64_t number);
  bool deserted() const;
  // A roster was given out, and not all of it are here any more.
  bool broken() const;

  std::uint64_t number() const { return number_; }
  std::uint32_t generation() const { return complete() ? 1 : 0; }
  std::uint64_t codec_table() const { return codec_table_; }
  const std::vector<Seat>& seats() const { return seats_; }
  Attendance attendance() const;
  Attendance remaining() const;  // of the attendance, those that are still here

 private:
  std::string id_;
  int sites_;
  std::uint64_t codec_table_;
  Call call_;  // which all follow
  std::uint64_t number_ = 0;
  std::vector<Seat> seats_;  // in the order in which they came
};

}  // namespace isthmus
