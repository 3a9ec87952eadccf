#include "mesh/mesh.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace isthmus {
namespace {

constexpr std::size_t max_guests = 512;
constexpr std::int64_t hello_timeout_ns = 10 * second_ns;
constexpr std::int64_t dial_for_ns = 10 * second_ns;
constexpr std::int64_t retry_after_ns = second_ns / 4;
constexpr std::uint32_t hello_bytes = 6;

struct Hello {
  std::uint16_t to, stream, streams;
};

std::vector<std::byte> to_payload(const Hello& hello) {
  return Writer().put(hello.to).put(hello.stream).put(hello.streams).take();
}

std::optional<Hello> parse_hello(ByteView payload) {
  Reader in(payload);
  Hello hello{in.get<std::uint16_t>(), in.get<std::uint16_t>(), in.get<std::uint16_t>()};
  if (!in.ended()) return std::nullopt;
  return hello;
}

// Few streams: sisters compete for one queue, and with BBR two of them between four sites took four
// times as long as one (bench/wan.py). Two sites have the uplink to themselves, and there one
// stream's window is the limit.
int default_streams(int world) {
  return world <= 2 ? 2 : 1;
}

}  // namespace

Mesh::Mesh(Network& network, std::unique_ptr<Listener> listener, std::int64_t heartbeat_timeout_ns)
    : network_(network),
      listener_(std::move(listener)),
      heartbeat_timeout_ns_(heartbeat_timeout_ns) {}

Status Mesh::start(const Roster& roster, int rank, std::int64_t now_ns, std::int64_t deadline_ns) {
  roster_ = roster;
  rank_ = rank;
  dial_until_ns_ = std::min(deadline_ns, now_ns + dial_for_ns);
  deadline_ns_ = now_ns;
  const int world = static_cast<int>(roster.members.size());
  seats_.resize(static_cast<std::size_t>(world));
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank) continue;
    const auto count = static_cast<std::size_t>(streams_with(peer) + 1);
    seats_[static_cast<std::size_t>(peer)].resize(count);
    const Member& low = roster.members[static_cast<std::size_t>(std::min(peer, rank))];
    const Member& high = roster.members[static_cast<std::size_t>(std::max(peer, rank))];
    if (low.address.empty() && high.address.empty())
      return refused("neither site \"" + low.site + "\" nor site \"" + high.site +
                         "\" can be dialled: let one of them listen",
                     peer);
    if (rank != (low.address.empty() ? std::min(peer, rank) : std::max(peer, rank))) continue;
    for (std::size_t i = 0; i < count; ++i)
      dials_.push_back({peer, static_cast<std::uint16_t>(i), nullptr, now_ns, "", false});
  }
  return {};
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
  for (Dial& dial : dials_)
    if (auto s = step_dial(dial, now_ns); !s.ok()) return s;
  std::erase_if(dials_, [](const Dial& dial) { return dial.channel == nullptr && dial.greeted; });
  return {};
}

void Mesh::accept(std::int64_t now_ns) {
  if (!listener_) return;
  while (auto stream = listener_->accept())
    if (guests_.size() < max_guests)
      guests_.push_back({Channel(std::move(stream)), now_ns + hello_timeout_ns, std::nullopt});
}

bool Mesh::serve(Guest& guest, std::int64_t now_ns) {
  if (!guest.hello) {
    auto message = guest.channel.receive(hello_bytes);
    if (!message.ok()) return false;
    if (!message->has_value()) {
      deadline_ns_ = std::min(deadline_ns_, guest.deadline_ns);
      return now_ns < guest.deadline_ns;
    }
    if ((*message)->header.kind != Kind::hello) return false;
    guest.hello = std::move(**message);
  }
  if (rank_ < 0) return true;  // our own roster is still on its way
  seat(guest);
  return false;
}

// A hello that fits gets the welcome and its stream a seat; any other guest is sent away without a
// word.
void Mesh::seat(Guest& guest) {
  const Header& header = guest.hello->header;
  const auto hello = parse_hello(guest.hello->payload);
  if (!hello || header.run != roster_.run || header.generation != roster_.generation ||
      header.source >= seats_.size() || header.source == rank_ || hello->to != rank_)
    return;
  auto& seats = seats_[header.source];
  if (hello->stream >= seats.size() || hello->streams + 1U != seats.size() ||
      seats[hello->stream] != nullptr)
    return;
  guest.channel.send(stamp(Kind::welcome));
  // 64 bytes into the buffer of a new connection: either they fit or the connection is broken.
  if (!guest.channel.flush().ok() || !guest.channel.flushed()) return;
  seats[hello->stream] = guest.channel.release();
}

Status Mesh::step_dial(Dial& dial, std::int64_t now_ns) {
  const Member& peer = roster_.members[static_cast<std::size_t>(dial.peer)];
  if (dial.channel == nullptr && !dial.greeted && now_ns >= dial.retry_ns) {
    auto stream = network_.connect(peer.address);
    if (stream.ok()) {
      dial.channel = std::make_unique<Channel>(std::move(*stream));
      dial.channel->send(stamp(Kind::hello),
                         to_payload({static_cast<std::uint16_t>(dial.peer), dial.stream,
                                     static_cast<std::uint16_t>(streams_with(dial.peer))}));
    } else {
      dial.last_error = stream.status().text;
      dial.retry_ns = now_ns + retry_after_ns;
    }
  }
  if (dial.channel != nullptr) {
    if (auto s = greet(dial); !s.ok()) {
      dial.last_error = s.text;
      dial.channel.reset();
      dial.retry_ns = now_ns + retry_after_ns;
    }
  }
  if (dial.greeted) return {};
  if (now_ns >= dial_until_ns_) return unreachable(dial);
  deadline_ns_ = std::min({deadline_ns_, dial_until_ns_, dial.channel ? never_ns : dial.retry_ns});
  return {};
}

Status Mesh::greet(Dial& dial) {
  if (auto s = dial.channel->flush(); !s.ok()) return s;
  auto message = dial.channel->receive(0);
  if (!message.ok()) return message.status();
  if (!message->has_value()) return {};
  const Header& header = (*message)->header;
  if (header.kind != Kind::welcome || header.run != roster_.run || header.source != dial.peer)
    return wire_error("what answers there is another isthmus site");
  seats_[static_cast<std::size_t>(dial.peer)][dial.stream] = dial.channel->release();
  dial.channel.reset();
  dial.greeted = true;
  return {};
}

Status Mesh::unreachable(const Dial& dial) const {
  const Member& me = roster_.members[static_cast<std::size_t>(rank_)];
  const Member& peer = roster_.members[static_cast<std::size_t>(dial.peer)];
  return refused("site \"" + me.site + "\" cannot reach site \"" + peer.site + "\" at " +
                     peer.address + " (" +
                     (dial.last_error.empty() ? "no answer" : dial.last_error) +
                     "): check advertise= at site \"" + peer.site + "\" and that its port is open",
                 dial.peer);
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
  for (std::size_t peer = 0; peer < seats_.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    LinkOptions options{.peer = static_cast<int>(peer),
                        .name = roster_.members[peer].site,
                        .stamp = stamp(Kind::slice),
                        .heartbeat_timeout_ns = heartbeat_timeout_ns_};
    links[peer] =
        std::make_unique<Link>(std::move(options), std::move(seats_[peer]), first_word_by_ns);
  }
  seats_.clear();
  seats_.resize(links.size());
  return links;
}

void Mesh::close() {
  listener_.reset();
  guests_.clear();
  dials_.clear();
  deadline_ns_ = never_ns;
}

}  // namespace isthmus
