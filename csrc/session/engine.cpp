// Engine's life: joining, meshing, running, closing. Its traffic is in traffic.cpp.
#include "session/engine.hpp"

#include <algorithm>

#include "net/crc32c.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t close_within_ns = 5 * second_ns;
constexpr std::int64_t close_failed_within_ns = second_ns;
// Links are pumped again while what one brought makes another's frames ready; then events are
// looked at again.
constexpr int max_rounds = 8;

}  // namespace

Engine::Engine(Network& network, std::unique_ptr<Listener> listener, EngineOptions options,
               std::shared_ptr<Work> joined, std::int64_t now_ns)
    : options_(std::move(options)),
      rendezvous_(network, options_.coordinator, options_.join, now_ns + options_.timeout_ns),
      mesh_(network, std::move(listener), options_.heartbeat_timeout_ns, options_.relays),
      joined_(std::move(joined)),
      now_ns_(now_ns),
      join_deadline_ns_(now_ns + options_.timeout_ns),
      pacer_(options_.paces) {
  if (options_.workers == nullptr) options_.workers = &at_once_;
}

Engine::~Engine() = default;

std::int64_t Engine::step(std::int64_t now_ns) {
  now_ns_ = now_ns;
  const std::int64_t rendezvous_deadline =
      phase_ == Phase::closed ? never_ns : rendezvous_.step(now_ns);
  if (phase_ == Phase::joining) step_joining(now_ns);
  if (phase_ == Phase::meshing) step_meshing(now_ns);
  if (phase_ == Phase::running) step_running(now_ns);
  if (phase_ == Phase::closing) step_closing(now_ns);
  return std::min(rendezvous_deadline, deadline_ns());
}

void Engine::step_joining(std::int64_t now_ns) {
  if (!failed_.ok()) return;
  if (!rendezvous_.status().ok()) return fail(rendezvous_.status(), false);
  (void)mesh_.step(now_ns);  // peers that have the roster already may call; nothing is dialled yet
  const Roster* roster = rendezvous_.roster();
  if (roster == nullptr) return;
  for (const Member& member : roster->members) sites_.push_back(member.site);
  rank_ = static_cast<int>(std::find(sites_.begin(), sites_.end(), options_.join.self.site) -
                           sites_.begin());
  watermarks_.resize(sites_.size());
  ahead_bytes_.resize(sites_.size());
  noticed_.resize(sites_.size());
  told_streams_.resize(sites_.size());
  told_roster_ = members();
  early_ = std::make_unique<Early>(static_cast<int>(sites_.size()), slice_buffers_);
  generation_ = roster->generation;
  if (options_.on_loss != OnLoss::raise) found_membership();
  phase_ = Phase::meshing;
  if (auto s = mesh_.start(*roster, rank_, now_ns, join_deadline_ns_); !s.ok()) {
    rendezvous_.report(s);
    fail(s, false);
  }
}

void Engine::found_membership() {
  const int world = static_cast<int>(sites_.size());
  const auto favourite = std::ranges::find(sites_, options_.favourite);
  const Quorum quorum{
      .favourite = favourite == sites_.end() ? -1 : static_cast<int>(favourite - sites_.begin())};
  membership_.emplace(rank_, world,
                      Membership::Policy{.quorum = quorum,
                                         .min_sites = options_.min_sites,
                                         .patience_ns = options_.heartbeat_timeout_ns,
                                         .waits = options_.on_loss == OnLoss::wait});
  reports_.resize(sites_.size());
  for (Report& report : reports_) report.census = membership_->census();
}

void Engine::step_meshing(std::int64_t now_ns) {
  if (!failed_.ok()) return;
  if (!rendezvous_.status().ok()) return fail(rendezvous_.status(), false);
  if (!rendezvous_.broken().ok()) return fail(rendezvous_.broken(), false);
  if (auto s = mesh_.step(now_ns); !s.ok()) {
    rendezvous_.report(s);
    return fail(s, false);
  }
  if (mesh_.complete()) return begin_running(now_ns);
  if (now_ns >= join_deadline_ns_)
    fail(timed_out("no connection between site \"" + options_.join.self.site + "\" at " +
                   options_.join.self.address + " and site " + mesh_.missing() +
                   " in time: check advertise= and the firewall"),
         false);
}

void Engine::begin_running(std::int64_t now_ns) {
  links_ = mesh_.take_links(join_deadline_ns_);
  wanted_streams_.resize(links_.size());
  next_dials_ns_.resize(links_.size());
  offers_left_.resize(links_.size());
  for (std::size_t peer = 0; peer < links_.size(); ++peer)
    if (links_[peer] != nullptr) wanted_streams_[peer] = links_[peer]->streams();
  last_sender_ = static_cast<std::size_t>(rank_);
  phase_ = Phase::running;
  rendezvous_.meet();
  submit(joined_, Request{.layout = policy_hash(), .payload = to_payload(mesh_.ways())}, now_ns);
}

// What the sites must agree on before any of them is lost. 0: that a loss is the end.
std::uint64_t Engine::policy_hash() const {
  if (!membership_) return 0;
  const auto text = std::to_string(options_.min_sites) + " " + options_.favourite +
                    (options_.on_loss == OnLoss::wait ? " waits" : "");
  return std::uint64_t{1} << 32 | crc32c(std::as_bytes(std::span(text)));
}

void Engine::step_running(std::int64_t now_ns) {
  if (!joined_->done()) {
    if (!rendezvous_.status().ok())
      fail(rendezvous_.status(), true);
    else if (!membership_ && !rendezvous_.broken().ok())
      fail(rendezvous_.broken(), true);
    else if (now_ns >= join_deadline_ns_)
      fail(timed_out("joining took too long: " + waiting(*operations_.at(0))), !membership_);
  }
  (void)mesh_.step(now_ns);  // strangers, what is carried for others, and streams that are added
  seat_added();
  move_on(now_ns);
  replace_streams(now_ns);
  see_off_leavers();
  check_timeout(now_ns);
  tell_streams();
  tell_coordinator();
}

void Engine::move_on(std::int64_t now_ns) {
  for (int round = 0; round < max_rounds; ++round) {
    progress_ = false;
    collect(now_ns);
    pump_links(now_ns);
    mind_members(now_ns);
    complete_operations();
    if (!progress_) break;
  }
}

// What the workers have computed makes frames ready and operations done.
void Engine::collect(std::int64_t now_ns) {
  if (!options_.workers->collect()) return;
  progress_ = true;
  progress_ns_ = now_ns;
}

// In a circle that begins behind the link that sent last and, first, behind this site: sites that
// pace alike then send to different peers at any moment.
void Engine::pump_links(std::int64_t now_ns) {
  held_until_ns_ = never_ns;
  had_turn_.assign(links_.size(), false);
  const std::size_t first = last_sender_ + 1;
  for (std::size_t i = 0; i < links_.size(); ++i) pump((first + i) % links_.size(), now_ns);
}

void Engine::pump(std::size_t peer, std::int64_t now_ns) {
  auto& link = links_[peer];
  if (link == nullptr) return;
  const Status status = link->pump(now_ns, *this);
  if (status.ok()) return;
  // Who broke the protocol is told so, lest it takes our closed connections for our death.
  if (status.code == Code::peer_lost)
    link.reset();
  else
    link->give_up(now_ns);
  lose(static_cast<int>(peer), status);
}

// A peer that has left in peace is missed only by operations that need it.
void Engine::see_off_leavers() {
  for (std::size_t peer = 0; peer < links_.size(); ++peer) {
    const auto rank = static_cast<int>(peer);
    const bool gone = links_[peer] == nullptr || links_[peer]->ended();
    if (rank == rank_ || !gone) continue;
    if (links_[peer] != nullptr) links_[peer]->goodbye();
    watermarks_[peer] = ~std::uint64_t{0};
    if (membership_ && membership_->changing())
      lose(rank, peer_lost("site \"" + sites_[peer] + "\" has left the session", rank));
    for (const auto& [number, operation] : operations_)
      if (failed_.ok() && needs(*operation, rank))
        lose(rank, peer_lost("site \"" + sites_[peer] + "\" has left the session, and " +
                                 operation->title() + " needs it",
                             rank));
  }
}

// For its result, or to be done with its own input.
bool Engine::needs(const Operation& operation, int peer) const {
  if (operation.done()) return false;
  const auto& link = links_[static_cast<std::size_t>(peer)];
  return operation.waits_for(peer) || operation.has_next(peer) ||
         (link != nullptr && link->carries(operation.number()));
}

std::string Engine::waiting(const Operation& operation) const {
  const std::string theirs = operation.waiting(sites_);
  if (!theirs.empty()) return theirs;
  std::string names;
  for (int peer = 0; peer < static_cast<int>(sites_.size()); ++peer)
    if (peer != rank_ && needs(operation, peer))
      names += (names.empty() ? "\"" : ", \"") + sites_[static_cast<std::size_t>(peer)] + "\"";
  return "our data for site " + names + " has not left";
}

void Engine::complete_operations() {
  for (auto it = operations_.lower_bound(first_open_); it != operations_.end(); ++it) {
    Operation& operation = *it->second;
    if (!operation.done() && !operation.objection().empty())
      refuse_operation(operation, refused(operation.title() + ": " + operation.objection()));
    if (operation.ready()) complete(operation);
  }
  while (true) {
    const auto open = operations_.find(first_open_);
    if (open == operations_.end() || !open->second->done()) break;
    ++first_open_;
  }
  tell_watermark();
  // Kept until every site is done with it: a site that lost its part could ask for the result.
  std::uint64_t everywhere = first_open_;
  for (std::size_t peer = 0; peer < watermarks_.size(); ++peer)
    if (static_cast<int>(peer) != rank_) everywhere = std::min(everywhere, watermarks_[peer]);
  if (!failed_.ok()) return;  // links may still point into their memory
  std::erase_if(operations_, [&](const auto& entry) {
    const auto& [number, operation] = entry;
    if (number >= everywhere || !operation->finished() || operation->failed()) return false;
    for (auto& link : links_)
      if (link != nullptr) link->forget(number);
    return true;
  });
}

// In the headers of all frames; and at once when there is nothing more to do, where others may keep
// results for this site and this one wait in close() to hear that nobody needs it.
void Engine::tell_watermark() {
  const bool news = std::exchange(told_first_open_, first_open_) != first_open_;
  const bool at_once = membership_ && !departed_ && news && !operations_.contains(first_open_);
  for (auto& link : links_) {
    if (link == nullptr) continue;
    link->set_watermark(first_open_);
    if (at_once && !link->leaving()) link->control(Kind::heartbeat, 0, {});
  }
}

void Engine::complete(Operation& operation) {
  // What has left of the caller's memory may have to be sent again.
  for (auto& link : links_)
    if (link != nullptr && operation.elements_to_reduce() > 0) link->copy_lent(operation.number());
  operation.complete();
  ++operations_done_;
  progress_ = true;
  if (operation.failed()) return ledger_.failed(operation.number());
  ledger_.done(operation.number(), now_ns_);
  if (const std::uint64_t elements = operation.elements_to_reduce(); elements > 0)
    ledger_.reduced(elements, operation.outcome().contributors);
}

void Engine::check_timeout(std::int64_t now_ns) {
  const auto oldest = operations_.find(first_open_);
  if (oldest == operations_.end() || !failed_.ok() || now_ns < timeout_ends_ns()) return;
  const Operation& operation = *oldest->second;
  fail(timed_out(operation.title() + " made no progress for " +
                 std::to_string(options_.timeout_ns / second_ns) + " s: " + waiting(operation)),
       true);
}

// While a pair is broken nothing counts: one of the two will be given up, and operations begin
// anew.
std::int64_t Engine::timeout_ends_ns() const {
  const bool resolves = membership_ && !departed_ && membership_->deadline_ns() != never_ns;
  return resolves ? never_ns : progress_ns_ + options_.timeout_ns;
}

std::int64_t Engine::deadline_ns() const {
  if (phase_ == Phase::joining || phase_ == Phase::meshing)
    return failed_.ok() ? std::min(mesh_.deadline_ns(), join_deadline_ns_) : never_ns;
  if (phase_ == Phase::closed) return never_ns;
  if (progress_) return 0;
  std::int64_t deadline = std::min({close_deadline_ns_, mesh_.deadline_ns(), dials_due_ns_});
  for (const auto& link : links_)
    if (link != nullptr) deadline = std::min(deadline, link->deadline_ns());
  if (failed_.ok() && operations_.contains(first_open_))
    deadline = std::min(deadline, timeout_ends_ns());
  if (membership_ && failed_.ok() && !departed_)
    deadline = std::min(deadline, membership_->deadline_ns());
  deadline = std::min(deadline, held_until_ns_);
  if (!joined_->done()) deadline = std::min(deadline, join_deadline_ns_);
  return deadline;
}

void Engine::fail(const Status& status, bool tell_others) {
  if (!failed_.ok()) return;
  failed_ = status;
  if (rank_ >= 0 && status.peer == rank_)
    failed_.text = "the other sites gave this site up: " + status.text;
  const auto payload = to_payload(status);
  for (auto& link : links_) {
    if (link == nullptr) continue;
    link->stop_data();
    if (tell_others && status.code != Code::cancelled) link->control(Kind::abort, 0, payload);
  }
  progress_ = true;
  if (standing_) rendezvous_.leave();
  if (joined_->done() && phase_ == Phase::running)
    tell({.kind = Event::Kind::ended,
          .peer = status.peer,
          .code = status.code,
          .why = failed_.text});
  for (auto& [number, operation] : operations_) operation->fail(failed_);
  if (!joined_->done()) joined_->finish({.status = failed_});
}

void Engine::abort(const Status& why, std::int64_t now_ns) {
  now_ns_ = now_ns;
  if (phase_ == Phase::running) fail(why, true);
}

void Engine::close(std::int64_t now_ns) {
  if (phase_ == Phase::closing || phase_ == Phase::closed) return;
  const bool failed = !failed_.ok();
  for (auto& [number, operation] : operations_) {
    if (operation->done()) continue;
    departed_ = true;
    for (auto& link : links_)
      if (link != nullptr) link->detach(number);
    operation->fail(cancelled("the session was closed before " + operation->title() + " was done"));
  }
  if (!joined_->done())
    joined_->finish({.status = cancelled("the session was closed while joining")});
  rendezvous_.leave();
  close_deadline_ns_ = now_ns + (failed ? close_failed_within_ns : close_within_ns);
  phase_ = Phase::closing;
}

void Engine::step_closing(std::int64_t now_ns) {
  (void)mesh_.step(now_ns);  // a stream that breaks now is still replaced
  seat_added();
  move_on(now_ns);
  replace_streams(now_ns);
  put_off_closing(now_ns);
  // Who is not needed says goodbye, and after half of the time whoever is.
  if (needed_by_nobody() || now_ns >= close_deadline_ns_ - close_within_ns / 2) departed_ = true;
  bool ended = rendezvous_.flushed() && !mesh_.relay().carries();
  for (std::size_t peer = 0; peer < links_.size(); ++peer) {
    Link* link = links_[peer].get();
    if (link == nullptr) continue;
    // All operations are over, so what a peer still needs is ready to be sent.
    const bool sent_all =
        link->idle() &&
        std::none_of(operations_.begin(), operations_.end(), [&](const auto& entry) {
          return entry.second->has_next(static_cast<int>(peer));
        });
    if ((sent_all && departed_) || !failed_.ok() || link->ended()) link->goodbye();
    ended = ended && link->ended();
  }
  if (!ended && now_ns < close_deadline_ns_) return;
  last_stats_ = stats();
  phase_ = Phase::closed;
  mesh_.close();
  links_.clear();
  operations_.clear();
}

// Others may still need what goes by way of this site; heartbeats alone are nothing to wait for.
void Engine::put_off_closing(std::int64_t now_ns) {
  constexpr std::uint64_t worth_waiting_bytes = 64 << 10;
  const std::uint64_t bytes = mesh_.relay().bytes_passed();
  if (!failed_.ok() || bytes < relayed_before_ + worth_waiting_bytes) return;
  relayed_before_ = bytes;
  close_deadline_ns_ = now_ns + close_within_ns;
}

EngineStats Engine::stats() const {
  if (phase_ == Phase::closed) return last_stats_;
  EngineStats stats{.operations_done = operations_done_,
                    .operations_kept = operations_.size(),
                    .operations = ledger_.stats(),
                    .ways = mesh_.ways(),
                    .relayed_bytes = mesh_.relay().bytes_passed(),
                    .generation = generation_,
                    .roster = (membership_ ? membership_->roster() : members()).ranks(),
                    .operations_again = operations_again_,
                    .operations_taken = operations_taken_,
                    .coordinator = rendezvous_.connected()};
  for (std::size_t peer = 0; peer < links_.size(); ++peer)
    if (links_[peer] != nullptr) stats.links.emplace_back(sites_[peer], links_[peer]->stats());
  return stats;
}

}  // namespace isthmus
