// Engine's part in a change of the roster: whom it has lost, what it tells, and how operations go
// on.
//
// Between the census that gives somebody up and the next roster nothing is completed: what each
// site has finished is then the same for all that hear it, and all draw the same conclusion.
#include <algorithm>

#include "session/engine.hpp"

namespace isthmus {

// A link is gone, or its peer makes no sense. Where sites go on without each other, that is news
// for the membership; else it is the end of the session.
void Engine::lose(int peer, const Status& why) {
  // A site that closes needs nothing any more, but others may still need what it has to send; what
  // it has seen they notice on their own.
  const bool closing = phase_ == Phase::closing;
  if (!membership_ && closing && why.code == Code::peer_lost) return;
  if (!membership_) return fail(why, !closing);
  if (!membership_->candidates().has(peer) || membership_->census().lost.has(peer)) return;
  membership_->lose(peer);
  last_loss_ = why;
  noticed_[static_cast<std::size_t>(peer)] = why.text;
  progress_ = true;
}

void Engine::mind_members(std::int64_t now_ns) {
  if (!membership_ || !failed_.ok() || departed_) return;
  if (membership_->decide(now_ns)) stop_operations();
  if (membership_->census() != reports_[static_cast<std::size_t>(rank_)].census)
    tell_census(now_ns);
  switch (membership_->settle()) {
    case Membership::Verdict::waits:
      return;
    case Membership::Verdict::installed:
      go_on(now_ns);
      return tell_census(now_ns);
    case Membership::Verdict::given_up:
      return fail(peer_lost("site \"" + sites_[static_cast<std::size_t>(rank_)] + "\" lost (" +
                                remaining() + ")",
                            rank_),
                  false);
    case Membership::Verdict::too_few: {
      const SiteSet gone = membership_->roster() - membership_->candidates();
      Status why = last_loss_;
      if (why.ok() || why.peer < 0 || !gone.has(why.peer)) {  // two others have lost each other
        const int one = gone.ranks().front();
        why = peer_lost(
            "site \"" + sites_[static_cast<std::size_t>(one)] + "\" lost (the other sites say so)",
            one);
      }
      why = {Code::peer_lost, why.peer,
             why.text + "; " + remaining() + ", which is too few to go on"};
      // They agree; but who has not heard all of them yet would wait for them, who are gone then.
      for (const int rank : membership_->candidates().ranks())
        if (const auto& link = links_[static_cast<std::size_t>(rank)]; link != nullptr)
          link->control(Kind::abort, 0, to_payload(why));
      return fail(why, false);
    }
  }
}

std::string Engine::remaining() const {
  return std::to_string(membership_->candidates().size()) + " of " +
         std::to_string(membership_->roster().size()) + " sites remain";
}

void Engine::stop_operations() {
  stopped_ = true;
  progress_ = true;
  for (auto& link : links_)
    if (link != nullptr) link->let_go();
  for (auto& [number, operation] : operations_) operation->stop();
}

// To all that still have a link; those who are out hear it as the last word.
void Engine::tell_census(std::int64_t now_ns) {
  Report& report = reports_[static_cast<std::size_t>(rank_)];
  report = {.census = membership_->census(), .first_open = first_open_};
  for (const auto& [number, operation] : operations_)
    if (const auto finished = operation->finished_here()) report.finished.push_back(*finished);
  const auto payload = to_payload(report);
  for (std::size_t peer = 0; peer < links_.size(); ++peer) {
    Link* link = links_[peer].get();
    if (link == nullptr || link->leaving()) continue;
    link->control(Kind::census, 0, payload);
    if (!membership_->candidates().has(static_cast<int>(peer))) link->give_up(now_ns);
  }
  progress_ = true;
}

Status Engine::heed_census(int peer, ByteView payload) {
  if (!membership_) return wire_error("it goes on without a lost site, and this site does not");
  auto report = parse_report(payload);
  const SiteSet everybody = SiteSet::first(static_cast<int>(sites_.size()));
  const bool sane = report && std::ranges::all_of(report->finished, [&](const Finished& one) {
                      return one.contributors.within(everybody);
                    });
  if (!sane || !membership_->hear(peer, report->census))
    return wire_error("its census makes no sense");
  reports_[static_cast<std::size_t>(peer)] = std::move(*report);
  progress_ = true;
  if (!membership_->abreast(peer)) return {};
  // What comes for operations that it has begun it now uses at once, and keeps nothing of it.
  for (auto& [number, by_peer] : ahead_by_operation_) {
    const Operation* operation = find(number);
    if (operation == nullptr || !operation->has_heard(peer)) continue;
    ahead_bytes_[static_cast<std::size_t>(peer)] -= by_peer[peer];
    by_peer.erase(peer);
  }
  return {};
}

// With a new roster: what some have finished all get from one of them, the rest is done again.
void Engine::go_on(std::int64_t now_ns) {
  const SiteSet roster = membership_->roster();
  generation_ = this->roster()->generation + static_cast<std::uint32_t>(membership_->generation());
  tell_lost();
  stopped_ = false;
  progress_ = true;
  progress_ns_ = now_ns;
  for (auto& link : links_)
    if (link != nullptr) link->set_generation(generation_);
  early_->forget_before(generation_);
  ahead_by_operation_.clear();
  std::ranges::fill(ahead_bytes_, 0);
  tell_presence();
  const auto given = services(roster, reports_);
  for (auto& [number, operation] : operations_) {
    if (const auto service = given.find(number); service != given.end()) {
      share_result(*operation, service->second);
    } else if (!operation->done()) {
      operation->begin(roster);
      ++operations_again_;
    }
    if (operation->failed()) ledger_.failed(number);
  }
  deliver_early();
}

bool Engine::whole() const {
  const auto gone = [this](std::size_t peer) {
    const auto& link = links_[peer];
    return static_cast<int>(peer) != rank_ && (link == nullptr || link->ended());
  };
  for (std::size_t peer = 0; peer < links_.size(); ++peer)
    if (gone(peer)) return false;
  return failed_.ok() && phase_ == Phase::running;
}

void Engine::attend(Standing standing, std::uint32_t failed) {
  if (phase_ != Phase::running || !failed_.ok()) return;
  standing_ = standing;
  failed_epoch_ = std::max(failed_epoch_, failed);
  tell_presence();
}

void Engine::tell_presence() {
  if (!standing_) return;
  // A session to which the site has not changed over is given up: the one before goes on.
  const bool is_stuck = stuck() && *standing_ != Standing::ready;
  Presence presence{.run = options_.join.run,
                    .site = options_.join.self.site,
                    .epoch = epoch(),
                    .standing = is_stuck ? Standing::stuck : *standing_,
                    .failed = failed_epoch_,
                    .codec_table = options_.join.codec_table,
                    .roster = {},
                    .min_sites = options_.min_sites,
                    .favourite = options_.favourite};
  const SiteSet roster = membership_ ? membership_->lawful() : members();
  for (const int rank : roster.ranks())
    presence.roster.push_back(sites_[static_cast<std::size_t>(rank)]);
  rendezvous_.attend(std::move(presence));
}

void Engine::share_result(Operation& operation, const Service& service) {
  if (operation.failed()) return;
  if (service.from == rank_) return operation.serve(membership_->roster(), service);
  if (operation.done()) return;
  if (!operation.gets_data(rank_)) return operation.stand_by(membership_->roster(), service);
  if (!operation.fits(service.what))
    return lose(service.from,
                wire_error("site \"" + sites_[static_cast<std::size_t>(service.from)] +
                               "\" broke the protocol: its result of " + operation.title() +
                               " has another length",
                           service.from));
  operation.await(membership_->roster(), service);
  ++operations_taken_;
}

// What sites sent that had the new roster before this one.
void Engine::deliver_early() {
  for (auto& [number, operation] : operations_)
    for (const int peer : membership_->roster().ranks()) {
      if (!operation->has_heard(peer)) continue;
      for (Early::Slice& slice : early_->take_slices(peer, number, generation_))
        if (auto s = deliver(*operation, std::move(slice)); !s.ok())
          lose(peer, broke_protocol(s, peer));
    }
}

// Data of another generation than the one in which operations go on, or of one that is stopped.
Result<ByteSpan> Engine::place_apart(int peer, const Header& header) {
  if (!membership_) return wire_error("it sent a frame of another generation", peer);
  const bool sane = header.generation <= roster()->generation + sites_.size() &&
                    header.operation <= next_operation_ + Early::max_operations_ahead;
  if (!sane) return wire_error("it sent data of a generation that cannot be", peer);
  if (header.generation <= generation_) return ByteSpan(discard_.get(), header.length);
  return early_->place(peer, header);
}

// Whether the others are done with all that this site could still help with.
bool Engine::needed_by_nobody() const {
  if (!membership_ || departed_ || !failed_.ok()) return true;
  return std::ranges::all_of(membership_->candidates().ranks(), [this](int peer) {
    const auto at = static_cast<std::size_t>(peer);
    return peer == rank_ || watermarks_[at] >= first_open_ || links_[at] == nullptr ||
           links_[at]->leaving();
  });
}

}  // namespace isthmus
