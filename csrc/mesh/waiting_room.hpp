// WaitingRoom: of one run, who takes part, who waits to, and when whom to call together. For the
// coordinator only; pure: it knows guests (connections) by number, and is told the time.
//
// It calls when all members of a roster say that same roster, and somebody waits; or when most of
// the last roster is stuck or waits, and nobody of it goes on. One call at a time: the next one
// comes after all have changed over, or after somebody has failed to follow. Nothing here is worth
// keeping: members say it all again to a coordinator that has started anew.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/clock.hpp"
#include "mesh/gathering.hpp"
#include "mesh/presence.hpp"

namespace isthmus {

class WaitingRoom {
 public:
  // Before it calls, the coordinator waits so long for further changes: sites often come and go
  // together.
  static constexpr std::int64_t settling_ns = 250 * millisecond_ns;
  // Before it calls who is stuck, from the first word of the run that it hears: a coordinator that
  // has started anew does not know yet who else there is, and who of them had come furthest.
  static constexpr std::int64_t gathering_ns = 3 * second_ns;
  // A called site that has no connection for so long is gone. A broken one is made again by then.
  static constexpr std::int64_t missing_ns = 2 * second_ns;
  // After a call that failed; twice as long after each further one.
  static constexpr std::int64_t first_pause_ns = second_ns / 2;
  static constexpr std::int64_t longest_pause_ns = 30 * second_ns;

  // Why this site may not say so, wait, or follow the call that it names; or ok.
  Status objection(const Presence& presence) const;
  Status objection(const JoinRequest& request) const;

  // REQUIRES, of the three: objection(…) is ok. What was known of the guest is replaced.
  void hear(GuestId guest, Presence presence);
  void admit(GuestId guest, const JoinRequest& request);
  // A call that this coordinator has not made itself is learned.
  void follow(GuestId guest, const JoinRequest& request);
  void forget(GuestId guest);
  // The guest has said something. Who waits under the name of a site that lives is refused: given
  // back once, by number.
  std::vector<GuestId> rivals_of(GuestId guest);

  // Who takes part under the name of this one, who waits: it may be dead and not know it.
  std::vector<GuestId> namesakes_of(GuestId waiter) const;

  struct Orders {
    std::optional<Call> over;       // it has failed: nobody follows it any more
    std::string why;                // it is over
    std::optional<Call> call;       // under way
    std::vector<GuestId> summoned;  // to be told of `call` now; each once
  };
  Orders decide(std::int64_t now_ns);
  // When to ask again though nothing is heard.
  std::int64_t deadline_ns() const { return deadline_ns_; }

  bool waits(GuestId guest) const { return waiting_.contains(guest); }
  // Its epoch stands at this guest.
  bool stands(GuestId guest, std::uint32_t epoch) const;
  // Somebody takes part, or is called to: who is new has to wait.
  bool open() const { return !present_.empty() || call_.has_value(); }
  bool empty() const { return !open() && waiting_.empty(); }
  Waiting waiting() const;
  std::vector<GuestId> waiters() const;
  // All that wait, who do so no more: nobody is left of the run for which they came.
  std::map<GuestId, JoinRequest> dismiss() { return std::exchange(waiting_, {}); }

 private:
  using Names = std::set<std::string>;

  void begin(const Call& call);
  std::uint32_t top_epoch() const;
  std::uint32_t last_number() const;
  Names names_waiting() const;
  Names connected() const;
  bool takes_part(const std::string& site) const;  // is present, or follows the call
  std::optional<Call> proposal() const;
  bool somebody_trains(std::uint32_t epoch) const;
  std::optional<Names> roster_that_trains(std::uint32_t epoch) const;
  std::optional<Names> sites_that_are_stuck(std::uint32_t epoch) const;
  std::string failure(std::int64_t now_ns);
  bool stands(std::uint32_t epoch) const;  // at anybody, this one or a later one
  bool fulfilled() const;
  std::vector<GuestId> summon();

  std::map<GuestId, Presence> present_;
  std::map<GuestId, JoinRequest> waiting_;
  std::map<GuestId, std::string> following_;  // the site of a guest that follows the call
  std::optional<Call> call_;                  // under way
  std::set<GuestId> told_;                    // of call_
  Names followed_;                            // sites that have, call_: others of the name are new
  std::int64_t missed_since_ns_ = never_ns;   // somebody whom call_ needs
  std::optional<Call> proposed_;              // that is made if it is still so a little later
  std::int64_t proposed_ns_ = 0;
  std::uint32_t highest_ = 0;  // epoch that was ever called here
  std::uint32_t over_ = 0;     // calls to this epoch and those before have failed
  int failures_ = 0;           // in a row
  std::int64_t not_before_ns_ = 0;
  std::int64_t since_ns_ = never_ns;  // somebody takes part
  std::int64_t deadline_ns_ = never_ns;
};

}  // namespace isthmus
