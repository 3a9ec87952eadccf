#include "mesh/waiting_room.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "mesh/membership.hpp"
#include "mesh/messages.hpp"

namespace isthmus {
namespace {

// A site may have one connection for the epoch in which it trains and one for the next; and one
// that has broken unnoticed for each.
constexpr std::size_t max_connections = 4 * max_sites;

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

bool trains(const Presence& presence, std::uint32_t epoch) {
  return presence.epoch == epoch && presence.standing == Standing::training;
}

}  // namespace

Status WaitingRoom::objection(const Presence& presence) const {
  if (present_.size() >= max_connections)
    return refused("run " + quoted(presence.run) + " has too many members");
  return {};
}

Status WaitingRoom::objection(const JoinRequest& request) const {
  const std::string self = "site " + quoted(request.self.site);
  const std::string run = "run " + quoted(request.run);
  for (const auto& [guest, presence] : present_)
    if (presence.codec_table != request.codec_table)
      return refused(self + " has another codec table than site " + quoted(presence.site) + " of " +
                     run + ": install the same isthmus at every site");
  if (request.call.epoch != 0) {
    const bool is_over =
        request.call.epoch <= over_ || (call_ && call_->epoch > request.call.epoch);
    const bool differs = call_ && call_->epoch == request.call.epoch && *call_ != request.call;
    if (is_over || differs)
      return refused("the call of " + run + " to epoch " + std::to_string(request.call.epoch) +
                     " is over");
    return {};
  }
  Names names = connected();
  names.insert(request.self.site);
  if (names.size() > static_cast<std::size_t>(max_sites) || waiting_.size() >= max_connections)
    return refused(run + " is full: " + std::to_string(max_sites) +
                   " sites take part or wait already");
  return {};
}

void WaitingRoom::hear(GuestId guest, Presence presence) {
  following_.erase(guest);
  present_[guest] = std::move(presence);
}

void WaitingRoom::admit(GuestId guest, const JoinRequest& request) {
  waiting_[guest] = request;
}

void WaitingRoom::follow(GuestId guest, const JoinRequest& request) {
  waiting_.erase(guest);
  following_[guest] = request.self.site;
  if (!call_ || call_->epoch < request.call.epoch) begin(request.call);
  if (call_->epoch == request.call.epoch) followed_.insert(request.self.site);
}

void WaitingRoom::begin(const Call& call) {
  call_ = call;
  told_.clear();
  followed_.clear();
  missed_since_ns_ = never_ns;
  highest_ = std::max(highest_, call.epoch);
}

void WaitingRoom::forget(GuestId guest) {
  present_.erase(guest);
  waiting_.erase(guest);
  following_.erase(guest);
  told_.erase(guest);
}

std::vector<GuestId> WaitingRoom::rivals_of(GuestId guest) {
  std::string site;
  if (const auto it = present_.find(guest); it != present_.end()) site = it->second.site;
  if (const auto it = following_.find(guest); it != following_.end()) site = it->second;
  if (const auto it = waiting_.find(guest); it != waiting_.end()) site = it->second.self.site;
  std::vector<GuestId> rivals;
  for (const auto& [other, waiter] : waiting_)
    if (other > guest && waiter.self.site == site) rivals.push_back(other);
  for (const GuestId rival : rivals) waiting_.erase(rival);
  return rivals;
}

std::vector<GuestId> WaitingRoom::namesakes_of(GuestId waiter) const {
  std::vector<GuestId> guests;
  const auto it = waiting_.find(waiter);
  if (it == waiting_.end()) return guests;
  for (const auto& [guest, presence] : present_)
    if (presence.site == it->second.self.site) guests.push_back(guest);
  for (const auto& [guest, site] : following_)
    if (site == it->second.self.site) guests.push_back(guest);
  return guests;
}

bool WaitingRoom::stands(GuestId guest, std::uint32_t epoch) const {
  const auto it = present_.find(guest);
  return it != present_.end() && it->second.epoch == epoch;
}

bool WaitingRoom::stands(std::uint32_t epoch) const {
  return std::ranges::any_of(present_,
                             [&](const auto& entry) { return entry.second.epoch >= epoch; });
}

Waiting WaitingRoom::waiting() const {
  const std::uint32_t epoch = top_epoch();
  Names members;
  for (const auto& [guest, presence] : present_)
    if (presence.epoch == epoch && presence.standing != Standing::ready)
      members.insert(presence.site);
  const Names waiters = names_waiting();
  return {.epoch = epoch,
          .members = {members.begin(), members.end()},
          .waiters = {waiters.begin(), waiters.end()}};
}

std::vector<GuestId> WaitingRoom::waiters() const {
  std::vector<GuestId> guests;
  for (const auto& [guest, waiter] : waiting_) guests.push_back(guest);
  return guests;
}

// In which somebody trains or is stuck: the last one that the run has changed over to.
std::uint32_t WaitingRoom::top_epoch() const {
  std::uint32_t top = 0;
  for (const auto& [guest, presence] : present_)
    if (presence.standing != Standing::ready) top = std::max(top, presence.epoch);
  return top;
}

// No number is given to two calls, whoever made the first one.
std::uint32_t WaitingRoom::last_number() const {
  std::uint32_t last = highest_;
  for (const auto& [guest, presence] : present_)
    last = std::max({last, presence.epoch, presence.called, presence.failed});
  return last;
}

WaitingRoom::Names WaitingRoom::names_waiting() const {
  Names names;
  for (const auto& [guest, waiter] : waiting_) names.insert(waiter.self.site);
  return names;
}

WaitingRoom::Names WaitingRoom::connected() const {
  Names names = names_waiting();
  for (const auto& [guest, presence] : present_) names.insert(presence.site);
  for (const auto& [guest, site] : following_) names.insert(site);
  return names;
}

bool WaitingRoom::takes_part(const std::string& site) const {
  return std::ranges::any_of(present_, [&](const auto& one) { return one.second.site == site; }) ||
         std::ranges::any_of(following_, [&](const auto& one) { return one.second == site; });
}

bool WaitingRoom::somebody_trains(std::uint32_t epoch) const {
  return std::ranges::any_of(present_,
                             [&](const auto& entry) { return trains(entry.second, epoch); });
}

// A roster of which every member trains in it, and could follow a call. Two of them there are not:
// each is a majority of the same one.
std::optional<WaitingRoom::Names> WaitingRoom::roster_that_trains(std::uint32_t epoch) const {
  for (const auto& [guest, presence] : present_) {
    if (!trains(presence, epoch)) continue;
    const std::vector<std::string>& roster = presence.roster;
    const bool agreed = std::ranges::all_of(roster, [&](const std::string& site) {
      return std::ranges::any_of(present_, [&](const auto& entry) {
        const Presence& other = entry.second;
        return other.site == site && trains(other, epoch) && other.roster == roster && other.free();
      });
    });
    if (agreed) return Names(roster.begin(), roster.end());
  }
  return std::nullopt;
}

// All that are stuck, if they and those who wait are enough of the smallest roster that any of them
// knows, and nobody else of it can be going on.
std::optional<WaitingRoom::Names> WaitingRoom::sites_that_are_stuck(std::uint32_t epoch) const {
  const Presence* last = nullptr;
  Names stuck;
  for (const auto& [guest, presence] : present_) {
    if (presence.standing != Standing::stuck) continue;
    if (!presence.free()) return std::nullopt;
    stuck.insert(presence.site);
    const bool smaller = last == nullptr || presence.roster.size() < last->roster.size();
    if (presence.epoch == epoch && smaller) last = &presence;
  }
  if (last == nullptr) return std::nullopt;
  const Names waiting = names_waiting();
  Muster muster;
  for (const std::string& site : last->roster) {
    const bool is_stuck = stuck.contains(site);
    const bool replaced = !is_stuck && waiting.contains(site);
    ++(is_stuck ? muster.stuck : replaced ? muster.replaced : muster.absent);
    if (site == last->favourite)
      muster.favourite = is_stuck   ? Muster::Favourite::stuck
                         : replaced ? Muster::Favourite::replaced
                                    : Muster::Favourite::absent;
  }
  Names here = stuck;
  here.insert(waiting.begin(), waiting.end());
  if (!muster.may_go_on() || here.size() < static_cast<std::size_t>(last->min_sites))
    return std::nullopt;
  return stuck;
}

// Who would be called if nothing changed any more.
std::optional<Call> WaitingRoom::proposal() const {
  const std::uint32_t epoch = top_epoch();
  const bool trained = somebody_trains(epoch);
  const auto members = trained ? roster_that_trains(epoch) : sites_that_are_stuck(epoch);
  if (!members) return std::nullopt;
  Names sites = *members;
  for (const auto& [guest, presence] : present_)
    if (presence.standing == Standing::stuck && presence.free()) sites.insert(presence.site);
  // Who waits under the name of one that is there is its successor, or an impostor: that will show.
  Names there;
  for (const auto& [guest, presence] : present_) there.insert(presence.site);
  for (const std::string& site : names_waiting())
    if (!there.contains(site)) sites.insert(site);
  const bool nobody_new = trained && sites == *members;
  if (nobody_new || sites.size() > static_cast<std::size_t>(max_sites)) return std::nullopt;
  return Call{.epoch = last_number() + 1, .sites = {sites.begin(), sites.end()}};
}

// All that were called have changed over; but for whom those who have did lose there again, who can
// only be called anew.
bool WaitingRoom::fulfilled() const {
  const auto gone_on = roster_that_trains(call_->epoch);
  return std::ranges::all_of(call_->sites, [&](const std::string& site) {
    if (gone_on && !gone_on->contains(site)) return true;
    return std::ranges::any_of(present_, [&](const auto& entry) {
      const Presence& presence = entry.second;
      return presence.site == site && presence.epoch >= call_->epoch &&
             presence.standing != Standing::ready;
    });
  });
}

// Why the call that is under way cannot end well; empty: it may.
std::string WaitingRoom::failure(std::int64_t now_ns) {
  const std::string what = " was to take part in epoch " + std::to_string(call_->epoch);
  for (const auto& [guest, presence] : present_)
    if (presence.failed >= call_->epoch)
      return "site " + quoted(presence.site) + what + ", and could not";
  Names names = connected();
  // Where the epoch stands all have been in it: who waits under such a name is another process.
  if (stands(call_->epoch)) {
    names.clear();
    for (const auto& [guest, presence] : present_) names.insert(presence.site);
    for (const auto& [guest, site] : following_) names.insert(site);
  }
  const Names waiting = names_waiting();
  for (const std::string& site : call_->sites) {
    // Who has followed and waits now is another process, which cannot take its seat.
    const bool anew = followed_.contains(site) && waiting.contains(site) && !takes_part(site);
    if (names.contains(site) && !anew) continue;
    if (missed_since_ns_ == never_ns) missed_since_ns_ = now_ns;
    if (now_ns >= missed_since_ns_ + missing_ns)
      return "site " + quoted(site) + what + ", and is gone";
    return "";
  }
  missed_since_ns_ = never_ns;
  return "";
}

std::vector<GuestId> WaitingRoom::summon() {
  std::vector<GuestId> summoned;
  Names at_the_door;
  const bool may_enter = !stands(call_->epoch);
  for (const auto& [guest, waiter] : waiting_)
    if (may_enter && std::ranges::binary_search(call_->sites, waiter.self.site) &&
        !followed_.contains(waiter.self.site) && at_the_door.insert(waiter.self.site).second &&
        told_.insert(guest).second)
      summoned.push_back(guest);
  for (const auto& [guest, presence] : present_)
    if (std::ranges::binary_search(call_->sites, presence.site) &&
        std::max(presence.epoch, presence.called) < call_->epoch && told_.insert(guest).second)
      summoned.push_back(guest);
  return summoned;
}

WaitingRoom::Orders WaitingRoom::decide(std::int64_t now_ns) {
  Orders orders;
  deadline_ns_ = never_ns;
  if (open()) since_ns_ = std::min(since_ns_, now_ns);
  if (call_ && fulfilled()) {
    call_.reset();
    failures_ = 0;
    not_before_ns_ = now_ns;
  } else if (call_) {
    orders.why = failure(now_ns);
    if (!orders.why.empty()) {
      orders.over = std::exchange(call_, std::nullopt);
      over_ = orders.over->epoch;
      following_.clear();
      const std::int64_t pause_ns = first_pause_ns << std::min(failures_, 6);
      not_before_ns_ = now_ns + std::min(pause_ns, longest_pause_ns);
      ++failures_;
    } else if (missed_since_ns_ != never_ns) {
      deadline_ns_ = missed_since_ns_ + missing_ns;
    }
  }
  if (!call_) {
    const auto next = proposal();
    if (next != proposed_) proposed_ns_ = now_ns;
    proposed_ = next;
    if (!next) return orders;
    const std::int64_t known_ns = somebody_trains(top_epoch()) ? 0 : since_ns_ + gathering_ns;
    const std::int64_t at_ns = std::max({proposed_ns_ + settling_ns, not_before_ns_, known_ns});
    if (now_ns < at_ns) {
      deadline_ns_ = at_ns;
      return orders;
    }
    begin(*proposed_);
    proposed_.reset();
  }
  orders.call = call_;
  orders.summoned = summon();
  return orders;
}

}  // namespace isthmus
