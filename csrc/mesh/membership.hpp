// Membership: which sites go on together after some are lost, as one site sees it. Pure: no links,
// no clock.
//
// A site tells all others its census whenever it changes, and hears theirs. Whom somebody has given
// up, all who hear it give up, and nobody is ever taken back; so all that can talk to each other
// come to say the same, and then they are the next roster, if they are a quorum of the last one.
// Rosters that were installed anywhere form one descending chain (docs/decisions/0015-recovery.md),
// so the number of a generation names one roster.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.hpp"
#include "mesh/site_set.hpp"

namespace isthmus {

struct Census {
  SiteSet roster;  // the last one that its sender has installed, or knows to be installed
  SiteSet out;     // that are to go on no more; all that are not in the roster, and perhaps others
  SiteSet lost;    // with which its sender has no link any more
  SiteSet lawful;  // the last roster known to it that was a quorum of the one before
  friend bool operator==(const Census&, const Census&) = default;
};

// What is left of a roster goes on if it is more than half of it; or half, with `favourite` in it.
struct Quorum {
  int favourite = -1;  // a rank; -1: nobody

  bool holds(SiteSet rest, SiteSet roster) const;
};

// Of the last roster that was enough, as far as is known: who is here and does not go on, who has
// been replaced by a newcomer that knows nothing, and who is not here. Those may be going on, by
// what the replaced ones said before they died: then nobody else must.
struct Muster {
  int stuck = 0;
  int replaced = 0;
  int absent = 0;
  enum class Favourite { nobody, stuck, replaced, absent } favourite = Favourite::nobody;

  bool may_go_on() const;
};

class Membership {
 public:
  struct Policy {
    Quorum quorum{};
    int min_sites = 1;
    // A pair that is not connected, though others are connected with both, may be the first sign of
    // a site that all will have lost. One of the two goes only when there was no such news for so
    // long.
    std::int64_t patience_ns = 5 * second_ns;
    // Too few end what is under way among themselves, and are stuck; else they do not.
    bool waits = false;
  };
  enum class Verdict {
    waits,      // settled, or not yet
    installed,  // roster() is a new one
    given_up,   // the others go on without this site
    too_few,    // all that are left agree, and may not go on
  };

  // REQUIRES: 0 <= rank < world.
  Membership(int rank, int world, Policy policy);

  // The link with this site is gone, and does not come back.
  void lose(int peer);
  // False: it cannot be true. Of a site that is out nothing is heard; its last word, that it is out
  // itself, may come before anybody else's, and says nothing of others.
  bool hear(int peer, const Census& theirs);
  // Gives up whom it must. True: more are out than when it was asked last. Then nothing may be
  // completed with the old roster any more, and only then may the census be told.
  bool decide(std::int64_t now_ns);
  // REQUIRES: the census has been told to all who have a link.
  Verdict settle();
  // When decide() wants to be called if nothing is heard.
  std::int64_t deadline_ns() const { return deadline_ns_; }

  SiteSet roster() const { return census(rank_).roster; }
  // The last roster that was enough to go on; of a site that is stuck, the last one that may have
  // been, elsewhere, by what this site has said.
  SiteSet lawful() const { return stuck() ? agreed_.back() : census(rank_).lawful; }
  // The roster is what is left of the lawful one, which is too little to go on.
  bool stuck() const { return roster() != census(rank_).lawful; }
  SiteSet candidates() const { return roster() - census(rank_).out; }
  bool changing() const { return candidates() != roster(); }
  // How many sites have been given up, to this roster.
  int generation() const { return (everybody_ - roster()).size(); }
  const Census& census() const { return census(rank_); }
  // It has installed the roster that this site has, and gives up nobody of it.
  bool abreast(int peer) const;

 private:
  const Census& census(int rank) const { return said_[static_cast<std::size_t>(rank)]; }
  Census& mine() { return said_[static_cast<std::size_t>(rank_)]; }
  SiteSet lost_by(int rank) const;  // as is known from both ends
  SiteSet within_reach() const;
  int broken_pairs() const;  // of candidates
  bool enough(SiteSet rest, SiteSet roster) const;
  SiteSet clique() const;

  const int rank_;
  const SiteSet everybody_;
  const Policy policy_;
  std::vector<Census> said_;  // by rank
  SiteSet decided_;           // who was out when decide() was asked last
  // Rosters that others may have installed as enough by what this site has said: ever smaller ones.
  // Those that lie within one that is stuck nobody has.
  std::vector<SiteSet> agreed_;
  int known_broken_ = 0;
  std::int64_t deadline_ns_ = never_ns;
};

}  // namespace isthmus
