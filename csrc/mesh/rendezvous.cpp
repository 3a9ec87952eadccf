#include "mesh/rendezvous.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "mesh/messages.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t retry_period_ns = 250 * millisecond_ns;
// Of who takes part: a coordinator that starts again hears of everybody within a second or so.
constexpr std::int64_t longest_retry_ns = second_ns;
// Of who still meets the others by a roster that the coordinator does not know: for the ways that
// are being tried.
constexpr std::int64_t patience_ns = 5 * second_ns;
constexpr int frames_at_once = 64;

std::string seconds(std::int64_t duration_ns) {
  std::array<char, 32> out;
  const double value = static_cast<double>(duration_ns) / static_cast<double>(second_ns);
  const auto end =
      std::to_chars(out.data(), out.data() + out.size(), value, std::chars_format::general, 3);
  return std::string(out.data(), end.ptr) + " s";
}

}  // namespace

struct Rendezvous::State {
  Network& network;
  std::string coordinator;
  JoinRequest request;
  std::int64_t deadline_ns;

  Status status{};
  std::optional<Roster> roster{};
  Status broken{};    // not ok: somebody of the roster is gone, or nobody knows of it any more
  bool met = false;   // the sites of the roster have connected with this one
  bool asks = false;  // on this connection, whether its roster is known
  std::int64_t void_ns = never_ns;  // it is not: when that is the end of joining
  std::optional<Channel> channel{};
  bool leaving = false;  // has said its last word

  std::int64_t began_ns = -1;
  std::int64_t retry_ns = 0;    // when to connect again
  std::int64_t greet_ns = 0;    // when to say again that we are alive
  std::int64_t silence_ns = 0;  // when a silent coordinator counts as lost
  std::string last_error{};     // why the last connection failed or ended
  bool answered = false;        // this connection has brought a frame
  bool mute = false;            // a connection stood, and nothing intelligible came
  std::optional<Attendance> so_far{};
  std::optional<Waiting> waiting{};  // said last to a site that is to be called

  std::optional<Presence> presence{};  // none: it takes part without saying so
  bool presence_told = false;          // on this connection
  std::optional<Call> call{};
  std::int64_t retry_after_ns = retry_period_ns;

  bool dials_again() const;
  bool wants_connection(std::int64_t now_ns) const;
  void connect(std::int64_t now_ns);
  bool converse(std::int64_t now_ns);  // whether there may be more to hear at once
  bool hear(std::int64_t now_ns);
  void take(const Message& message, std::int64_t now_ns);
  void take_roster(const Message& message);
  void miss_roster(std::int64_t now_ns);
  void mind_roster(std::int64_t now_ns);
  Status loss_among(const std::vector<Member>& left) const;
  void take_waiting(const Message& message);
  void take_call(const Message& message);
  void follow(const Call& called);
  void lose(const Status& why, std::int64_t now_ns);
  void fail(Status why);
  void end(Status why, std::int64_t now_ns);
  Status lateness() const;
  std::string lateness_of_call(const std::string& within) const;
  std::int64_t next_ns() const;
};

// A site that has met all of the roster can do without, but for what it is to say of itself. Until
// then only the coordinator knows of somebody who is gone; of those who are called it finds out
// otherwise.
bool Rendezvous::State::dials_again() const {
  return !roster || presence || (!met && request.call.epoch == 0);
}

bool Rendezvous::State::wants_connection(std::int64_t now_ns) const {
  if (channel || leaving || now_ns < retry_ns) return false;
  return dials_again() && (roster || now_ns < deadline_ns);
}

void Rendezvous::State::connect(std::int64_t now_ns) {
  answered = false;
  presence_told = false;
  asks = roster && !presence;
  auto stream = network.connect(coordinator);
  if (!stream.ok()) return lose(stream.status(), now_ns);
  channel.emplace(std::move(*stream));
  const std::uint64_t known = roster ? roster->run : 0;
  if (!presence) channel->send({.kind = Kind::join, .run = known}, encode_join(request));
  // Who takes part asks for an answer at once: only that says that the coordinator is back.
  greet_ns = presence ? now_ns : now_ns + greeting_period_ns;
  silence_ns = now_ns + silence_limit_ns;
}

bool Rendezvous::State::converse(std::int64_t now_ns) {
  bool more = true;
  for (int i = 0; i < frames_at_once && more; ++i) more = hear(now_ns);
  if (!channel) return false;
  if (now_ns >= silence_ns) {
    lose(peer_lost("it does not answer"), now_ns);
    return false;
  }
  if (presence && !presence_told && channel->flushed() && !leaving) {
    channel->send({.kind = Kind::presence}, encode_presence(*presence));
    presence_told = true;
  }
  if (now_ns >= greet_ns && channel->flushed() && !leaving) {
    channel->send({.kind = Kind::heartbeat});
    greet_ns = now_ns + greeting_period_ns;
  }
  if (const auto s = channel->flush(); !s.ok()) lose(s, now_ns);
  return more;
}

// One frame; false: there is none now, or there will be no more.
bool Rendezvous::State::hear(std::int64_t now_ns) {
  auto message = channel->receive(max_roster_bytes);
  const Status& end = message.status();
  if (end.code == Code::refused && (!roster || presence)) {  // another protocol version
    this->end(refused("the coordinator at " + coordinator + ": " + end.text), now_ns);
  } else if (end.code == Code::wire_error && !roster) {
    fail(wire_error("what answers at " + coordinator + " is no isthmus coordinator (" + end.text +
                    "): check the address"));
  } else if (!message.ok()) {
    lose(end, now_ns);
  } else if (message->has_value()) {
    silence_ns = now_ns + silence_limit_ns;
    answered = true;
    mute = false;
    retry_after_ns = retry_period_ns;
    take(**message, now_ns);
    return channel.has_value();
  }
  return false;
}

void Rendezvous::State::take(const Message& message, std::int64_t now_ns) {
  const Kind kind = message.header.kind;
  if (kind == Kind::roster) return take_roster(message);
  if (kind == Kind::waiting) return take_waiting(message);
  if (kind == Kind::come) return take_call(message);
  if (kind == Kind::heartbeat) return;
  if (kind == Kind::refuse && asks) return miss_roster(now_ns);
  if (kind == Kind::refuse) {
    const auto text = decode_refusal(message.payload);
    return end(text.ok() ? refused(*text) : text.status(), now_ns);
  }
  if (!roster)
    fail(wire_error("what answers at " + coordinator + " is no isthmus coordinator (frame kind " +
                    std::to_string(static_cast<int>(kind)) + "): check the address"));
}

void Rendezvous::State::take_roster(const Message& message) {
  if (roster && presence) return;
  auto attendance = decode_attendance(message.payload);
  if (!attendance.ok())
    return fail(
        wire_error("the coordinator at " + coordinator + " sent " + attendance.status().text));
  if (roster) {  // a coordinator that knows it says so, and then who is gone of it
    asks = false;
    if (message.header.generation == 0) broken = loss_among(attendance->members);
    return;
  }
  so_far = *attendance;
  waiting.reset();
  if (message.header.generation == 0) return;
  const bool whole =
      attendance->sites == request.sites &&
      static_cast<int>(attendance->members.size()) == request.sites &&
      std::ranges::count(attendance->members, request.self.site, &Member::site) == 1 &&
      (request.call.epoch == 0 ||
       std::ranges::equal(attendance->members, request.call.sites, {}, &Member::site));
  if (!whole)
    return fail(wire_error("the coordinator at " + coordinator +
                           " sent a roster that does not fit: " + names_of(attendance->members)));
  roster = Roster{.generation = message.header.generation,
                  .run = message.header.run,
                  .members = std::move(attendance->members)};
}

// Whoever made the roster may have been one of it. Where all are well they meet in the meantime.
void Rendezvous::State::miss_roster(std::int64_t now_ns) {
  asks = false;
  channel.reset();
  retry_ns = never_ns;
  void_ns = now_ns + patience_ns;
}

void Rendezvous::State::mind_roster(std::int64_t now_ns) {
  if (now_ns < void_ns) return;
  void_ns = never_ns;
  broken =
      peer_lost("the coordinator at " + coordinator + " started anew while the sites of run \"" +
                request.run + "\" joined each other; start all again that have ended");
}

// Of the roster only these are left.
Status Rendezvous::State::loss_among(const std::vector<Member>& left) const {
  std::vector<Member> gone;
  for (const Member& member : roster->members)
    if (std::ranges::count(left, member.site, &Member::site) == 0) gone.push_back(member);
  return peer_lost("lost while the sites of run \"" + request.run + "\" joined each other: " +
                   names_of(gone) + "; start it again, and all others that have ended");
}

void Rendezvous::State::take_waiting(const Message& message) {
  if (roster) return;
  auto told = decode_waiting(message.payload);
  if (!told.ok())
    return fail(wire_error("the coordinator at " + coordinator + " sent " + told.status().text));
  waiting = std::move(*told);
  so_far.reset();
}

void Rendezvous::State::take_call(const Message& message) {
  const auto called = decode_call(message.payload);
  // Of what makes no sense nothing comes; who calls again will be heard then.
  if (!called.ok() || !std::ranges::binary_search(called->sites, request.self.site)) return;
  if (!roster && waiting) return follow(*called);
  if (!presence || called->epoch <= std::max(presence->epoch, presence->called)) return;
  call = *called;
  presence->called = called->epoch;
  presence_told = false;
}

void Rendezvous::State::follow(const Call& called) {
  request.call = called;
  request.sites = static_cast<int>(called.sites.size());
  waiting.reset();
  channel->send({.kind = Kind::join}, encode_join(request));
}

void Rendezvous::State::lose(const Status& why, std::int64_t now_ns) {
  // A dead coordinator ends a connection between frames, or before it stood; what talks otherwise
  // is mute.
  mute = channel && !answered && channel->bytes_sent() > 0;
  last_error = why.text;
  channel.reset();
  waiting.reset();
  const bool again = !leaving && dials_again();
  retry_ns = again ? now_ns + retry_after_ns : never_ns;
  if (presence) retry_after_ns = std::min(2 * retry_after_ns, longest_retry_ns);
}

void Rendezvous::State::fail(Status why) {
  status = std::move(why);
  channel.reset();
}

// A coordinator that does not want this site: who takes part already can do without.
void Rendezvous::State::end(Status why, std::int64_t now_ns) {
  if (!presence) return fail(std::move(why));
  retry_after_ns = longest_retry_ns;
  lose(why, now_ns);
}

std::string Rendezvous::State::lateness_of_call(const std::string& within) const {
  return "site \"" + request.self.site + "\" waits to take part in run \"" + request.run +
         "\", and was not called" + within + ": of the sites that take part, " +
         (waiting->members.empty() ? "none" : names_of(waiting->members)) +
         " have told the coordinator at " + coordinator +
         " so; check that all of them run isthmus.Run and can reach it";
}

Status Rendezvous::State::lateness() const {
  const std::string within = " within " + seconds(deadline_ns - began_ns);
  const std::string why = last_error.empty() ? "" : " (last error: " + last_error + ")";
  if (waiting && channel) return timed_out(lateness_of_call(within));
  if (so_far && answered && channel) {
    const std::size_t came = so_far->members.size();
    const std::size_t missing = static_cast<std::size_t>(request.sites) - came;
    return timed_out("only " + std::to_string(came) + " of " + std::to_string(request.sites) +
                     " sites came" + within + ": " + names_of(so_far->members) + "; " +
                     std::to_string(missing) + " missing: check that " +
                     (missing == 1 ? "it runs and that it" : "they run and that they") +
                     " can reach " + coordinator);
  }
  if (so_far)
    return timed_out("lost the coordinator at " + coordinator + " and could not join again" +
                     within + why + "; of " + std::to_string(request.sites) +
                     " sites had come: " + names_of(so_far->members));
  if (mute || (channel && channel->stream().connected()))
    return timed_out("something listens at " + coordinator +
                     ", but it did not answer as an isthmus coordinator" + within + why +
                     ": check the address");
  return timed_out("cannot reach the coordinator at " + coordinator + within + why +
                   "; is \"isthmus coordinator\" running there, and is the port open?");
}

std::int64_t Rendezvous::State::next_ns() const {
  const std::int64_t late_ns = roster ? void_ns : leaving ? never_ns : deadline_ns;
  if (!channel) return leaving ? never_ns : std::min(retry_ns, late_ns);
  const bool greets = channel->flushed() && !leaving;
  if (greets && presence && !presence_told) return 0;
  return std::min({late_ns, silence_ns, greets ? greet_ns : never_ns});
}

Rendezvous::Rendezvous(Network& network, std::string coordinator, JoinRequest request,
                       std::int64_t deadline_ns)
    : state_(std::make_unique<State>(State{.network = network,
                                           .coordinator = std::move(coordinator),
                                           .request = std::move(request),
                                           .deadline_ns = deadline_ns})) {
  state_->status = check(state_->request);
}

Rendezvous::~Rendezvous() = default;

std::int64_t Rendezvous::step(std::int64_t now_ns) {
  State& s = *state_;
  if (!s.status.ok()) return never_ns;
  if (s.began_ns < 0) s.began_ns = now_ns;
  if (s.wants_connection(now_ns)) s.connect(now_ns);
  const bool more = s.channel && s.converse(now_ns);
  if (s.status.ok() && !s.roster && !s.leaving && now_ns >= s.deadline_ns) s.fail(s.lateness());
  if (!s.status.ok()) return never_ns;
  s.mind_roster(now_ns);
  return more ? now_ns : s.next_ns();
}

const Status& Rendezvous::status() const {
  return state_->status;
}

const Roster* Rendezvous::roster() const {
  return state_->roster ? &*state_->roster : nullptr;
}

bool Rendezvous::connected() const {
  return state_->channel && state_->answered;
}

const Status& Rendezvous::broken() const {
  return state_->broken;
}

const std::string& Rendezvous::last_error() const {
  return state_->last_error;
}

std::uint32_t Rendezvous::epoch() const {
  return state_->request.call.epoch;
}

void Rendezvous::meet() {
  state_->met = true;
  state_->void_ns = never_ns;
  if (!state_->dials_again()) state_->retry_ns = never_ns;
}

void Rendezvous::attend(Presence presence) {
  State& s = *state_;
  // A call whose time is over while this one stood already is no failure of this site.
  s.status = {};
  const bool first = !s.presence;
  presence.called = first ? 0 : s.presence->called;
  if (s.presence == presence) return;
  s.presence = std::move(presence);
  s.presence_told = s.asks = false;
  if (first && !s.channel) s.retry_ns = 0;
}

const Call* Rendezvous::call() const {
  return state_->call ? &*state_->call : nullptr;
}

void Rendezvous::report(const Status& why) {
  State& s = *state_;
  if (!s.channel || s.leaving) return;
  s.channel->send({.kind = Kind::refuse},
                  encode_refusal(why.text.empty() ? "a site cannot go on" : why.text));
  s.leaving = true;
  if (!s.channel->flush().ok()) s.channel.reset();
}

void Rendezvous::leave() {
  State& s = *state_;
  const bool first = !std::exchange(s.leaving, true);
  if (!s.channel || !first) return;
  s.channel->send({.kind = Kind::leave});
  if (!s.channel->flush().ok()) s.channel.reset();
}

bool Rendezvous::flushed() const {
  return !state_->channel || state_->channel->flushed();
}

}  // namespace isthmus
