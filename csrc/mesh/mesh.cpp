#include "mesh/mesh.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "mesh/hello.hpp"
#include "mesh/messages.hpp"
#include "net/address.hpp"

namespace isthmus {
namespace {

constexpr std::size_t max_guests = 512;
constexpr std::int64_t hello_timeout_ns = 10 * second_ns;
// A link's loss may be that of its relay, which is seen at about the same time: heartbeats come
// four times within a timeout.
constexpr int verdicts_a_timeout = 2;

// Few streams: sisters compete for one queue, and with BBR two of them between four sites took four
// times as long as one (bench/wan.py). Two sites have the uplink to themselves, and there one
// stream's window is the limit.
int default_streams(int world) {
  return world <= 2 ? 2 : 1;
}

// What never was on a wire needs no check of its own.
bool stay_on_this_machine(const std::vector<std::unique_ptr<Stream>>& streams) {
  return std::ranges::all_of(streams, [](const auto& stream) {
    const auto address = numeric(stream->peer_address());
    return address && is_loopback(*address);
  });
}

}  // namespace

Mesh::Mesh(Network& network, std::unique_ptr<Listener> listener, std::int64_t heartbeat_timeout_ns,
           bool relays)
    : network_(network),
      listener_(std::move(listener)),
      heartbeat_timeout_ns_(heartbeat_timeout_ns),
      relays_(relays),
      relay_(network) {}

Status Mesh::start(const Roster& roster, int rank, std::int64_t now_ns, std::int64_t deadline_ns) {
  roster_ = roster;
  rank_ = rank;
  deadline_ns_ = now_ns;
  relay_.start(roster_, stamp(Kind::relay));
  const int world = static_cast<int>(roster.members.size());
  seats_.resize(static_cast<std::size_t>(world));
  ways_.assign(seats_.size(), direct_way);
  for (int peer = 0; peer < world; ++peer)
    if (peer != rank)
      seats_[static_cast<std::size_t>(peer)].resize(
          static_cast<std::size_t>(streams_with(peer) + 1));
  return plan_routes(now_ns, deadline_ns);
}

int Mesh::streams_with(int peer) const {
  const int mine = roster_.members[static_cast<std::size_t>(rank_)].streams;
  const int theirs = roster_.members[static_cast<std::size_t>(peer)].streams;
  if (mine == 0 && theirs == 0) return default_streams(static_cast<int>(roster_.members.size()));
  if (mine == 0 || theirs == 0) return std::max(mine, theirs);
  return std::min(mine, theirs);
}

Header Mesh::stamp(Kind kind) const {
  Header header;
  header.kind = kind;
  header.run = roster_.run;
  header.generation = roster_.generation;
  header.source = static_cast<std::uint16_t>(rank_);
  return header;
}

Status Mesh::step(std::int64_t now_ns) {
  deadline_ns_ = never_ns;
  accept(now_ns);
  std::erase_if(guests_, [&](Guest& guest) { return !serve(guest, now_ns); });
  for (Dial& dial : dials_) step_dial(dial, now_ns);
  std::erase_if(dials_, [](const Dial& dial) { return dial.over; });
  for (int peer = 0; peer < static_cast<int>(routes_.size()); ++peer)
    if (auto s = step_route(peer, now_ns); !s.ok()) return s;
  relay_.step(now_ns);
  deadline_ns_ = std::min(deadline_ns_, relay_.deadline_ns());
  return {};
}

void Mesh::accept(std::int64_t now_ns) {
  if (!listener_) return;
  while (auto stream = listener_->accept())
    if (guests_.size() < max_guests)
      guests_.push_back(
          {.channel = Channel(std::move(stream)), .deadline_ns = now_ns + hello_timeout_ns});
}

bool Mesh::serve(Guest& guest, std::int64_t now_ns) {
  if (!guest.word) {
    auto message = guest.channel.receive(hello_bytes);
    if (!message.ok() || !guest.channel.flush().ok()) return false;
    if (!message->has_value()) {
      deadline_ns_ = std::min(deadline_ns_, guest.deadline_ns);
      return now_ns < guest.deadline_ns;
    }
    guest.word = std::move(**message);
  }
  // A guest that has given up would leave us with a seat that nobody sits on.
  if (!guest.channel.waits()) return false;
  if (rank_ < 0) return true;  // our own roster is still on its way
  take_word(guest, now_ns);
  return false;
}

// A word that fits is heeded; any other guest is sent away without one.
void Mesh::take_word(Guest& guest, std::int64_t now_ns) {
  const Header& header = guest.word->header;
  if (header.run != roster_.run || header.generation != roster_.generation ||
      header.source >= seats_.size() || header.source == rank_)
    return;
  if (header.kind == Kind::hello) return seat(guest);
  if (header.kind != Kind::relay && header.kind != Kind::offer) return;
  const auto wanted = parse_wish(guest.word->payload);
  if (!wanted || *wanted >= seats_.size() || *wanted == header.source) return;
  const bool for_others = *wanted != rank_;
  if (for_others && !relays_)
    refuse(std::move(guest.channel), "it passes on nothing for others (relay=False)");
  else if (header.kind == Kind::relay && for_others)
    relay_.ask(std::move(guest.channel), header.source, *wanted, now_ns);
  else if (header.kind == Kind::offer && !for_others)
    take_offer(guest, now_ns);
  else if (header.kind == Kind::offer)
    relay_.offer(std::move(guest.channel), header.source, *wanted, now_ns);
}

// A hello that fits gets the welcome, and its stream a seat or a place in its link.
void Mesh::seat(Guest& guest) {
  const std::uint16_t source = guest.word->header.source;
  const auto hello = parse_hello(guest.word->payload);
  if (!hello || hello->to != rank_) return;
  const bool relayed = hello->by != by_nobody;
  if (relayed && (hello->by >= seats_.size() || hello->by == source || hello->by == rank_)) return;
  if (relayed && !relays_)
    return refuse(std::move(guest.channel), "site \"" + member(rank_).site +
                                                "\" lets no third site pass on its data "
                                                "(relay=False)");
  const bool added = hello->streams == to_be_added;
  // A data stream of a link that stands here: it broke before its welcome came. The peer's link is
  // to stand too, and then sees that this one ends.
  const bool late = links_taken_ && !added && hello->stream > 0;
  if (!late && (added ? !may_add(source, *hello) : !has_seat(source, *hello))) return;
  guest.channel.send(stamp(Kind::welcome));
  // 64 bytes into the buffer of a new connection: either they fit or the connection is broken.
  if (!guest.channel.flush().ok() || !guest.channel.flushed() || late) return;
  if (added) {
    added_.push_back({source, guest.channel.release(), hello->stream, false});
    return;
  }
  seats_[source][hello->stream] = guest.channel.release();
  if (relayed) ways_[source] = hello->by;
}

// Says why to who must not be left guessing.
void Mesh::refuse(Channel channel, const std::string& why) const {
  channel.send(stamp(Kind::refuse), encode_refusal(why));
  (void)channel.flush();
}

// One that broke before its peer heard that it is welcome keeps nobody from the seat.
bool Mesh::has_seat(int peer, const Hello& hello) const {
  const auto& seats = seats_[static_cast<std::size_t>(peer)];
  if (hello.stream >= seats.size() || hello.streams + 1U != seats.size()) return false;
  const auto& sits = seats[hello.stream];
  return sits == nullptr || sits->ended();
}

// To a link that stands, by the end that dials, on the link's own way.
bool Mesh::may_add(int peer, const Hello& hello) const {
  const int way = hello.by == by_nobody ? direct_way : hello.by;
  return links_taken_ && !dials(peer) && way == ways_[static_cast<std::size_t>(peer)];
}

bool Mesh::meets(int peer) const {
  const auto& seats = seats_[static_cast<std::size_t>(peer)];
  return std::ranges::any_of(seats, [](const auto& stream) { return stream != nullptr; });
}

bool Mesh::complete() const {
  if (rank_ < 0) return false;
  for (std::size_t peer = 0; peer < seats_.size(); ++peer)
    for (const auto& stream : seats_[peer])
      if (stream == nullptr) return false;
  return true;
}

std::string Mesh::missing() const {
  std::string names;
  for (std::size_t peer = 0; peer < seats_.size(); ++peer)
    if (std::find(seats_[peer].begin(), seats_[peer].end(), nullptr) != seats_[peer].end())
      names += (names.empty() ? "\"" : ", \"") + roster_.members[peer].site + "\"";
  return names;
}

std::vector<std::unique_ptr<Link>> Mesh::take_links(std::int64_t first_word_by_ns) {
  ISTHMUS_CHECK(complete());
  std::vector<std::unique_ptr<Link>> links(seats_.size());
  for (const auto& seats : seats_)
    next_numbers_.push_back(static_cast<std::uint32_t>(seats.size()));
  for (std::size_t peer = 0; peer < seats_.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    LinkOptions options{.peer = static_cast<int>(peer),
                        .name = roster_.members[peer].site,
                        .stamp = stamp(Kind::slice),
                        .heartbeat_timeout_ns = heartbeat_timeout_ns_,
                        .checks = ways_[peer] != direct_way || !stay_on_this_machine(seats_[peer])};
    if (const int way = ways_[peer]; way != direct_way) {
      options.by_way_of = member(way).site;
      options.verdict_after_ns = heartbeat_timeout_ns_ / verdicts_a_timeout;
    }
    links[peer] =
        std::make_unique<Link>(std::move(options), std::move(seats_[peer]), first_word_by_ns);
  }
  routes_.clear();
  seats_.clear();
  seats_.resize(links.size());
  links_taken_ = true;
  return links;
}

void Mesh::close() {
  listener_.reset();
  guests_.clear();
  dials_.clear();
  routes_.clear();
  added_.clear();
  deadline_ns_ = never_ns;
}

}  // namespace isthmus
