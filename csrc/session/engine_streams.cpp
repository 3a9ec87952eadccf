// Engine's part in the streams of its links: how many there are, and new ones for those that broke.
#include <algorithm>

#include "session/engine.hpp"

namespace isthmus {
namespace {

// A path that breaks every new connection is not dialled without a pause.
constexpr std::int64_t dial_again_ns = second_ns / 4;
constexpr std::int64_t offer_again_ns = second_ns;

}  // namespace

// The peer's end of one that finds no place here sees it end.
void Engine::seat_added() {
  for (Mesh::Added& added : mesh_.take_added()) {
    auto& link = links_[static_cast<std::size_t>(added.peer)];
    if (failed_.ok() && link != nullptr)
      (void)link->add(std::move(added.stream), added.number, added.dialled);
  }
}

void Engine::set_streams(int peer, int count, std::int64_t now_ns) {
  if (phase_ != Phase::running || !failed_.ok() || peer == rank_ || !mesh_.dials(peer)) return;
  const auto at = static_cast<std::size_t>(peer);
  const auto& link = links_.at(at);
  if (link == nullptr || link->leaving()) return;
  link->keep(count);
  wanted_streams_[at] = count;
  mesh_.add_streams(peer, count - link->streams(), link->lacks_control(), now_ns);
  progress_ = true;
}

// The end that dials a link dials again for streams that broke, and for those that it could not
// have before. Perhaps it cannot, and had a connection that the other end made for it to use; so
// that one makes one again.
void Engine::replace_streams(std::int64_t now_ns) {
  dials_due_ns_ = never_ns;
  for (std::size_t peer = 0; peer < links_.size(); ++peer) {
    Link* link = links_[peer].get();
    const auto rank = static_cast<int>(peer);
    if (link == nullptr || link->leaving() || !failed_.ok()) continue;
    const bool dials = mesh_.dials(rank);
    if (!dials && offers_left_[peer] == 0) continue;
    const bool control = link->lacks_control();
    const int data = dials ? wanted_streams_[peer] - link->streams() : link->missing();
    const int lack = data + (control ? 1 : 0);
    if (lack <= (dials ? mesh_.dialling(rank) : 0)) continue;
    if (now_ns >= next_dials_ns_[peer]) {
      next_dials_ns_[peer] = now_ns + (dials ? dial_again_ns : offer_again_ns);
      if (dials)
        mesh_.add_streams(rank, data, control, now_ns);
      else
        mesh_.offer_streams(rank, lack, now_ns), --offers_left_[peer];
    }
    dials_due_ns_ = std::min(dials_due_ns_, next_dials_ns_[peer]);
  }
}

}  // namespace isthmus
