#include "mesh/gathering.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace isthmus {
namespace {

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string hex(std::uint64_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) out += digits[(value >> shift) & 15];
  return out;
}

}  // namespace

Status Gathering::objection(const JoinRequest& request) const {
  if (complete())
    return refused("run " + quoted(id_) + " is complete with sites " +
                   names_of(attendance().members) +
                   ": wait until they have left, or give the new run its own run id");
  if (seats_.empty()) return {};
  const std::string first =
      "site " + quoted(seats_.front().member.site) + " (the first of run " + quoted(id_) + ")";
  const std::string self = "site " + quoted(request.self.site);
  if (request.sites != sites_)
    return refused(self + " asks for sites=" + std::to_string(request.sites) + ", but " + first +
                   " for sites=" + std::to_string(sites_) + ": give all sites the same number");
  if (request.codec_table != codec_table_)
    return refused(self + " has the codec table " + hex(request.codec_table) + ", but " + first +
                   " has " + hex(codec_table_) + ": install the same isthmus at every site");
  if (request.call != call_)
    return refused(self + " was called together with " + names_of(request.call.sites) + ", but " +
                   first + " with " + names_of(call_.sites));
  for (const Seat& seat : seats_)
    if (seat.member.site == request.self.site)
      return refused(self + " already takes part in run " + quoted(id_) + " (from " + seat.from +
                     "): give every site its own name");
  if (full()) return refused("run " + quoted(id_) + " is full");
  return {};
}

Seat* Gathering::seat_of(const JoinRequest& request) {
  const bool agrees = request.sites == sites_ && request.codec_table == codec_table_;
  const auto it = std::ranges::find_if(seats_, [&](const Seat& seat) {
    return agrees && request.ticket != 0 && seat.ticket == request.ticket &&
           seat.member.site == request.self.site;
  });
  return it == seats_.end() ? nullptr : &*it;
}

GuestId Gathering::seat(const JoinRequest& request, GuestId guest, const std::string& from) {
  if (Seat* held = seat_of(request)) {
    // A roster that was given out does not change.
    if (!complete()) held->member = request.self;
    held->from = from;
    return std::exchange(held->guest, guest);
  }
  ISTHMUS_CHECK(!complete() && !full());
  seats_.push_back(
      {.member = request.self, .ticket = request.ticket, .guest = guest, .from = from});
  return no_guest;
}

void Gathering::vacate(GuestId guest) {
  if (!complete()) {
    std::erase_if(seats_, [&](const Seat& seat) { return seat.guest == guest; });
    return;
  }
  for (Seat& seat : seats_)
    if (seat.guest == guest) seat.guest = no_guest;
}

void Gathering::complete_as(std::uint64_t number) {
  ISTHMUS_CHECK(full() && number != 0);
  number_ = number;
}

bool Gathering::deserted() const {
  return std::ranges::all_of(seats_, [](const Seat& seat) { return seat.guest == no_guest; });
}

bool Gathering::broken() const {
  return complete() && std::ranges::count(seats_, no_guest, &Seat::guest) > 0;
}

Attendance Gathering::remaining() const {
  Attendance out = attendance();
  for (const Seat& seat : seats_)
    if (seat.guest == no_guest)
      std::erase_if(out.members, [&](const Member& m) { return m.site == seat.member.site; });
  return out;
}

Attendance Gathering::attendance() const {
  Attendance out{.sites = sites_, .members = {}};
  for (const Seat& seat : seats_) out.members.push_back(seat.member);
  std::ranges::sort(out.members, {}, &Member::site);
  return out;
}

}  // namespace isthmus
