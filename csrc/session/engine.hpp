// Engine: one site's whole part in a run, as a state machine: join, connect, run operations, leave.
//
// It has no thread, no clock and no sockets of its own: Reactor and TcpNetwork give it those in
// life, SimNet in the simulator. All calls come from the thread that steps it. A session that
// failed stays failed: every operation in flight and every later one ends with the same Status, and
// the other sites are told why. A lost site is the end of the session, or the others go on without
// it, as the options say (docs/decisions/0015-recovery.md).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mesh/membership.hpp"
#include "mesh/mesh.hpp"
#include "mesh/rendezvous.hpp"
#include "mesh/ways.hpp"
#include "net/actor.hpp"
#include "session/early.hpp"
#include "session/events.hpp"
#include "session/ledger.hpp"
#include "session/operation.hpp"
#include "session/pacer.hpp"

namespace isthmus {

// What becomes of a session that loses a site.
enum class OnLoss {
  raise,     // it fails, at all sites
  carry_on,  // what is left of them goes on, if it may
  wait,      // so it does, and if it may not, it ends what is under way and waits for an epoch
};

struct EngineOptions {
  std::string coordinator;  // "host:port"
  JoinRequest join;
  std::int64_t timeout_ns = 60 * second_ns;  // of joining, and of an operation without progress
  std::int64_t heartbeat_timeout_ns = 5 * second_ns;
  Paces paces{};
  bool relays = true;  // as Mesh
  // The same at all sites. Fewer than min_sites do not carry on, nor does what is not a majority:
  // but half of the sites may, if the favourite is among them.
  OnLoss on_loss = OnLoss::raise;
  int min_sites = 1;
  std::string favourite{};
  Workers* workers = nullptr;         // they outlive the engine; null: it computes by itself
  std::function<void(Event)> tell{};  // the operator; empty: nobody listens
};

struct EngineStats {
  std::uint64_t operations_done = 0;
  std::uint64_t operations_kept = 0;  // done here, not yet at every site
  OperationStats operations{};
  std::vector<std::pair<std::string, LinkStats>> links{};
  std::vector<int> ways{};          // by rank, as Mesh::ways
  std::uint64_t relayed_bytes = 0;  // carried between others
  std::uint32_t generation = 0;
  std::vector<int> roster{};  // ranks that take part
  // After losses: begun once more over a smaller roster; their result taken from another site.
  std::uint64_t operations_again = 0, operations_taken = 0;
  bool coordinator = false;  // it answers; who is not told anything by it does without
};

class Engine final : public Actor, private Traffic {
 public:
  // The first operation's number; number 0 is the barrier that ends joining.
  static constexpr std::uint64_t first_operation = 1;

  // `joined` is finished when all sites stand ready, or with the reason why not.
  Engine(Network& network, std::unique_ptr<Listener> listener, EngineOptions options,
         std::shared_ptr<Work> joined, std::int64_t now_ns);
  ~Engine() override;

  std::int64_t step(std::int64_t now_ns) override;

  // Operations are numbered by work->operation(), without gaps, in the same order at every site.
  void submit(std::shared_ptr<Work> work, Request request, std::int64_t now_ns);
  // Ends the session at every site for a reason from outside, which all of them give: what is in
  // flight and all later operations. Nothing happens where it has ended, or failed, already.
  void abort(const Status& why, std::int64_t now_ns);
  // Ends what is in flight with Cancelled, sends what others still need, and says goodbye; then
  // closed().
  void close(std::int64_t now_ns);
  void set_paces(const Paces& paces) { pacer_ = Pacer(paces); }
  // The data streams of the link to a peer, from now on. The end that dials sees to it; at the
  // other end nothing happens. 1 to Link::max_streams.
  void set_streams(int peer, int count, std::int64_t now_ns);
  bool closed() const { return phase_ == Phase::closed; }

  // The coordinator is told from now on that this site takes part, and in which roster, so that
  // others can join; that joining the epochs up to `failed` came to nothing; and calls are heard.
  // REQUIRES: joined well.
  void attend(Standing standing, std::uint32_t failed);
  const Call* call() const { return rendezvous_.call(); }
  std::uint32_t epoch() const { return rendezvous_.epoch(); }
  // Nobody is lost, and nothing has failed. REQUIRES: joined well.
  bool whole() const;
  // Who takes part. REQUIRES: joined well.
  SiteSet present() const { return membership_ ? membership_->roster() : members(); }
  // Too few are left to go on: what is under way ends with them, and nothing more should begin.
  SiteSet lawful() const { return membership_ ? membership_->lawful() : members(); }
  bool stuck() const { return failed_.ok() && membership_ && membership_->stuck(); }
  // The port is free for another session of this process; streams that others would open are done
  // without from now on.
  void stop_listening() { mesh_.stop_listening(); }

  const Roster* roster() const { return rendezvous_.roster(); }
  int rank() const { return rank_; }
  const Status& failure() const { return failed_; }  // ok: it has not failed
  EngineStats stats() const;

 private:
  enum class Phase { joining, meshing, running, closing, closed };

  // Traffic, called by the links.
  bool next(int peer, OutFrame& frame) override;
  void sent(int peer, const OutFrame& frame) override;
  Result<ByteSpan> place(int peer, const Header& header) override;
  Status arrived(int peer, const Header& header, ByteSpan payload) override;
  Status control(int peer, Message message) override;

  void step_joining(std::int64_t now_ns);
  void found_membership();
  void step_meshing(std::int64_t now_ns);
  void begin_running(std::int64_t now_ns);
  std::uint64_t policy_hash() const;
  void step_running(std::int64_t now_ns);
  void step_closing(std::int64_t now_ns);
  void put_off_closing(std::int64_t now_ns);
  void seat_added();
  void replace_streams(std::int64_t now_ns);
  void move_on(std::int64_t now_ns);
  void collect(std::int64_t now_ns);
  void pump_links(std::int64_t now_ns);
  void pump(std::size_t peer, std::int64_t now_ns);
  bool may_send(int peer, const Operation& operation);
  void see_off_leavers();
  void complete_operations();
  void complete(Operation& operation);
  void tell_watermark();
  void check_timeout(std::int64_t now_ns);
  std::int64_t timeout_ends_ns() const;
  std::int64_t deadline_ns() const;

  Status hear(int peer, std::uint64_t number, Announcement theirs);
  Status deliver(Operation& operation, Early::Slice slice);
  Status broke_protocol(const Status& how, int peer) const;
  Status heed_abort(const Header& header, ByteView payload);
  Status heed_refusal(std::uint64_t number, Status why);
  bool needs(const Operation& operation, int peer) const;
  std::string waiting(const Operation& operation) const;
  Operation* find(std::uint64_t number);
  SiteSet members() const;

  // When the roster changes (succession.cpp).
  void lose(int peer, const Status& why);
  void mind_members(std::int64_t now_ns);
  std::string remaining() const;
  void stop_operations();
  void tell_census(std::int64_t now_ns);
  Status heed_census(int peer, ByteView payload);
  void go_on(std::int64_t now_ns);
  void share_result(Operation& operation, const Service& service);
  void deliver_early();
  Result<ByteSpan> place_apart(int peer, const Header& header);
  bool needed_by_nobody() const;
  void tell_presence();
  void refuse_operation(Operation& operation, const Status& why);

  // To the operator (tidings.cpp).
  void tell(Event event);
  void tell_lost();
  void tell_streams();
  void tell_coordinator();
  void fail(const Status& status, bool tell_others);

  AtOnce at_once_;
  EngineOptions options_;
  Rendezvous rendezvous_;
  Mesh mesh_;
  Phase phase_ = Phase::joining;
  Status failed_;  // ok: not failed
  std::shared_ptr<Work> joined_;
  int rank_ = -1;
  std::uint32_t generation_ = 0;
  std::optional<Membership> membership_;  // none: a lost site is the end
  std::vector<Report> reports_;           // by rank: what they, and this site, said last
  Status last_loss_;
  std::optional<Standing> standing_;  // none: the coordinator is not told
  std::uint32_t failed_epoch_ = 0;
  std::vector<std::string> noticed_;         // by rank: how this site has lost it
  SiteSet told_roster_;                      // what the operator knows
  std::vector<int> told_streams_;            // by rank
  std::vector<int> wanted_streams_;          // by rank: of the links that this site dials
  std::vector<std::int64_t> next_dials_ns_;  // by rank: not before, for streams that broke
  std::vector<int> offers_left_;  // by rank: to those that dial, who may want fewer streams
  std::int64_t dials_due_ns_ = never_ns;
  std::optional<bool> told_coordinator_;  // that it is there
  bool stopped_ = false;                  // operations wait for the next roster
  bool departed_ = false;                 // this site takes no part in further rosters
  std::int64_t now_ns_;
  std::int64_t join_deadline_ns_;
  std::int64_t close_deadline_ns_ = never_ns;
  std::uint64_t relayed_before_ = 0;  // bytes, when closing was put off last
  std::vector<std::string> sites_;
  std::vector<std::unique_ptr<Link>> links_;  // by rank; null: this site, or gone
  std::size_t last_sender_ = 0;               // rank of the link that a frame left by
  std::vector<bool> had_turn_;                // by rank: sent a frame in this round
  Pacer pacer_;
  std::int64_t held_until_ns_ = never_ns;  // by the pacer, in the last round: the first link
  std::vector<std::uint64_t> watermarks_;  // by rank: operations below are done there
  std::vector<std::uint64_t>
      ahead_bytes_;  // by rank: sent for operations that the peer has not announced
  std::map<std::uint64_t, std::map<int, std::uint64_t>> ahead_by_operation_;

  // Memory that operations borrow comes before them, and so outlives them.
  Buffers buffers_;
  SliceBuffers slice_buffers_;
  std::map<std::uint64_t, std::unique_ptr<Operation>> operations_;  // in flight or kept
  std::uint64_t next_operation_ = 0;
  std::uint64_t first_open_ = 0;  // all below are done here
  std::uint64_t told_first_open_ = 0;
  std::unique_ptr<Early> early_;
  std::map<std::uint64_t, Status> refusals_;      // of operations that this site has not begun
  Memory discard_ = allocate(max_payload_bytes);  // where data of failed operations goes
  std::int64_t progress_ns_ = 0;                  // when anything last moved an operation on
  bool progress_ = false;
  std::uint64_t operations_done_ = 0;
  std::uint64_t operations_again_ = 0, operations_taken_ = 0;
  Ledger ledger_;
  EngineStats last_stats_;  // once closed
};

}  // namespace isthmus
