#include "mesh/membership.hpp"

#include <algorithm>

namespace isthmus {

bool Quorum::holds(SiteSet rest, SiteSet roster) const {
  const int twice = 2 * rest.size();
  if (twice == roster.size()) return favourite >= 0 && rest.has(favourite);
  return twice > roster.size();
}

// Rosters shrink by majorities, but down to two only, or to the favourite.
bool Muster::may_go_on() const {
  const int all = stuck + replaced + absent;
  const auto holds = [&](int rest, bool favoured) {
    return 2 * rest > all || (2 * rest == all && favoured);
  };
  const bool favourite_here = favourite == Favourite::stuck || favourite == Favourite::replaced;
  if (!holds(stuck + replaced, favourite_here)) return false;
  const bool others_may_have =
      holds(replaced + absent, favourite == Favourite::replaced || favourite == Favourite::absent);
  const bool others_may_go_on = absent > 1 || (absent == 1 && favourite == Favourite::absent);
  return !(others_may_have && others_may_go_on);
}

Membership::Membership(int rank, int world, Policy policy)
    : rank_(rank),
      everybody_(SiteSet::first(world)),
      policy_(policy),
      said_(static_cast<std::size_t>(world),
            Census{.roster = everybody_, .out = {}, .lost = {}, .lawful = everybody_}),
      agreed_{everybody_} {}

void Membership::lose(int peer) {
  mine().lost = mine().lost | SiteSet::of(peer);
}

bool Membership::hear(int peer, const Census& theirs) {
  if (!candidates().has(peer)) return true;
  Census& last = said_[static_cast<std::size_t>(peer)];
  const bool sane = theirs.lost.within(everybody_) && theirs.out.within(everybody_) &&
                    (everybody_ - theirs.roster).within(theirs.out) && theirs.roster.has(peer) &&
                    !theirs.lost.has(peer) && theirs.roster.within(theirs.lawful) &&
                    theirs.lawful.within(everybody_);
  // What was said is not taken back.
  const bool goes_on = theirs.roster.within(last.roster) && last.out.within(theirs.out) &&
                       last.lost.within(theirs.lost) && theirs.lawful.within(last.lawful);
  if (!sane || !goes_on) return false;
  if (theirs.out.has(peer)) {
    mine().out = mine().out | SiteSet::of(peer);
    return true;
  }
  last = theirs;
  mine().out = mine().out | theirs.out;
  return true;
}

SiteSet Membership::lost_by(int rank) const {
  SiteSet lost = census(rank).lost;
  for (const int other : candidates().ranks())
    if (census(other).lost.has(rank)) lost = lost | SiteSet::of(other);
  return lost;
}

// The candidates that this one is connected with, be it by way of others.
SiteSet Membership::within_reach() const {
  SiteSet reached = SiteSet::of(rank_);
  SiteSet fresh = reached;
  while (!fresh.empty()) {
    SiteSet next;
    for (const int rank : fresh.ranks()) next = next | (candidates() - lost_by(rank));
    fresh = next - reached;
    reached = reached | next;
  }
  return reached;
}

int Membership::broken_pairs() const {
  int ends = 0;
  for (const int rank : candidates().ranks()) ends += (lost_by(rank) & candidates()).size();
  return ends / 2;
}

// Candidates of which every two are connected: as many as a simple search finds. It begins with
// each of them, the favourite first, and takes the best connected one by one; of several that are
// as large the first one is taken.
SiteSet Membership::clique() const {
  std::vector<int> order = candidates().ranks();
  const auto broken = [this](int rank) { return (lost_by(rank) & candidates()).size(); };
  std::ranges::stable_sort(order, {}, broken);
  std::vector<int> starts = candidates().ranks();
  std::ranges::stable_partition(starts,
                                [this](int rank) { return rank == policy_.quorum.favourite; });
  SiteSet best;
  for (const int start : starts) {
    SiteSet chosen = SiteSet::of(start);
    for (const int rank : order)
      if ((lost_by(rank) & chosen).empty()) chosen = chosen | SiteSet::of(rank);
    if (chosen.size() > best.size()) best = chosen;
  }
  return best;
}

bool Membership::enough(SiteSet rest, SiteSet roster) const {
  return rest.size() >= policy_.min_sites && policy_.quorum.holds(rest, roster);
}

bool Membership::decide(std::int64_t now_ns) {
  if (!mine().out.has(rank_)) {
    mine().out = mine().out | (candidates() - within_reach());
    const int broken = broken_pairs();
    // Each further one may be the next that is heard of a site that dies.
    if (broken > known_broken_) deadline_ns_ = now_ns + policy_.patience_ns;
    if (broken > 0 && now_ns >= deadline_ns_) mine().out = mine().out | (candidates() - clique());
    known_broken_ = broken_pairs();
    if (known_broken_ == 0) deadline_ns_ = never_ns;
  }
  // Whoever else hears it may go on with these, though this site may never hear that they do.
  const SiteSet left = candidates();
  if (changing() && left.has(rank_) && left.size() > 1 && left != agreed_.back() &&
      enough(left, agreed_.back()))
    agreed_.push_back(left);
  const bool more = decided_ != mine().out;
  decided_ = mine().out;
  return more;
}

Membership::Verdict Membership::settle() {
  if (mine().out.has(rank_)) return Verdict::given_up;
  if (!changing() || broken_pairs() > 0) return Verdict::waits;
  const SiteSet next = candidates();
  SiteSet last = mine().lawful;
  for (const int rank : next.ranks()) {
    if (census(rank).out != mine().out) return Verdict::waits;
    // Lawful rosters are a chain: the smallest one is the last.
    if (census(rank).lawful.within(last)) last = census(rank).lawful;
  }
  const bool lawful = enough(next, last);
  if (!lawful && !policy_.waits) return Verdict::too_few;
  mine().roster = next;
  mine().lawful = lawful ? next : last;
  std::erase_if(agreed_, [&](SiteSet one) { return one.within(next); });
  if (agreed_.empty() || mine().lawful.within(agreed_.back())) agreed_ = {mine().lawful};
  return Verdict::installed;
}

bool Membership::abreast(int peer) const {
  return census(peer).roster == roster() && census(peer).out == census(rank_).out;
}

}  // namespace isthmus
