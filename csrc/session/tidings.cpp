// Engine's part in telling its operator what has happened.
#include "session/engine.hpp"

namespace isthmus {
namespace {

constexpr int most_offers = 10;  // after the last stream that broke

}  // namespace

void Engine::tell(Event event) {
  event.generation = generation_;
  if (options_.tell) options_.tell(std::move(event));
}

// With a new roster: who was in the last one and is not in this.
void Engine::tell_lost() {
  const SiteSet roster = membership_->roster();
  for (const int peer : (told_roster_ - roster).ranks())
    tell({.kind = Event::Kind::lost,
          .peer = peer,
          .code = Code::peer_lost,
          .why = noticed_[static_cast<std::size_t>(peer)],
          .before = told_roster_.size(),
          .now = roster.size()});
  told_roster_ = roster;
}

void Engine::tell_streams() {
  for (std::size_t peer = 0; peer < links_.size(); ++peer) {
    const Link* link = links_[peer].get();
    if (link == nullptr || link->leaving()) continue;
    for (std::string& why : links_[peer]->take_breaks()) {
      offers_left_[peer] = most_offers;
      tell({.kind = Event::Kind::stream_lost,
            .peer = static_cast<int>(peer),
            .why = std::move(why),
            .now = link->streams()});
    }
    // Those that broke are still to be had.
    const int now = link->streams() + link->missing();
    const int before = std::exchange(told_streams_[peer], now);
    if (before == told_streams_[peer] || before == 0) continue;
    tell({.kind = Event::Kind::streams,
          .peer = static_cast<int>(peer),
          .before = before,
          .now = told_streams_[peer]});
  }
}

// Only of who is to be called by it; where a session is but joined, the one before it still tells.
void Engine::tell_coordinator() {
  if (!standing_ || *standing_ == Standing::ready || !failed_.ok()) return;
  const bool there = rendezvous_.connected();
  if (told_coordinator_ == there) return;
  told_coordinator_ = there;
  const std::string why = there ? " is back" : " lost (" + rendezvous_.last_error() + ")";
  tell({.kind = Event::Kind::coordinator,
        .why = "coordinator at " + options_.coordinator + why,
        .now = there ? 1 : 0});
}

}  // namespace isthmus
