// Bytes on their way: window, uplink, flight, downlink, and what a reader finds.
#include <algorithm>

#include "base/check.hpp"
#include "net/frame.hpp"
#include "net/sim_world.hpp"

namespace isthmus::sim {
namespace {

constexpr std::uint64_t short_read_one_in = 8;
constexpr std::uint64_t short_write_one_in = 16;
constexpr std::uint64_t tiny_segment_one_in = 4;
constexpr std::size_t tiny_segment_bytes = 200;  // of these, several make one frame header
constexpr std::int64_t torn_gap_ns = 10'000;     // between two segments, at most
constexpr int most_losses = 6;                   // of one segment
constexpr std::int64_t reminder_ns = 1000;
constexpr std::size_t first_bytes = 256;  // an offer or a relay, and a hello

std::uint64_t name(const Way& way) {
  return std::uint64_t{way.connection->id} * 2 + static_cast<std::uint64_t>(way.side);
}

template <class Spans>
std::size_t total(const Spans& pieces) {
  std::size_t bytes = 0;
  for (const auto& piece : pieces) bytes += piece.size();
  return bytes;
}

void drop_unsent(Pipe& pipe) {
  pipe.unsent.clear();
  pipe.unsent_from = 0;
}

std::int64_t wire_time(const Way& way, std::size_t bytes, const Host& host, std::int64_t rate) {
  if (way.writer().host == way.reader().host) return 0;
  return wire_time_ns(bytes, rate, host.slow_factor);
}

}  // namespace

// After a short read or write there is more to do at once: the hint comes back.
void World::remind(const ConnectionPtr& connection, int side, bool Endpoint::* hint) {
  schedule(now_ns_ + reminder_ns, [this, connection, side, hint] {
    Endpoint& end = connection->ends[static_cast<std::size_t>(side)];
    end.*hint = true;
    wake(end.host);
  });
}

std::size_t World::write(const Way& way, std::span<const ByteView> pieces) {
  Pipe& pipe = way.pipe();
  const std::size_t asked = total(pieces);
  std::size_t moved = std::min(asked, settings.window_bytes - pipe.window_used);
  const bool cut_short = settings.torn && moved > 1 && random.one_in(short_write_one_in);
  if (cut_short) moved = random.between<std::size_t>(1, moved - 1);
  if (moved < asked) way.writer().writable = false;
  if (cut_short) remind(way.connection, way.side, &Endpoint::writable);
  pipe.window_used += moved;
  if (pipe.dead && moved > 0) lose_patience(way);
  if (pipe.dead) return moved;
  std::size_t left = moved;
  for (const ByteView piece : pieces) {
    const ByteView part = piece.first(std::min(left, piece.size()));
    pipe.unsent.insert(pipe.unsent.end(), part.begin(), part.end());
    const std::size_t room = first_bytes - std::min(first_bytes, pipe.first.size());
    pipe.first.insert(pipe.first.end(), part.begin(),
                      part.begin() + static_cast<std::ptrdiff_t>(std::min(room, part.size())));
    left -= part.size();
  }
  if (moved > 0) take_turn(way);
  return moved;
}

std::optional<int> Way::stream() const {
  constexpr std::size_t hello_stream_at = header_bytes + 2;
  for (const Pipe& pipe : connection->pipes) {
    ByteView rest = pipe.first;
    while (rest.size() >= header_bytes) {
      HeaderBytes bytes;
      std::copy_n(rest.begin(), header_bytes, bytes.begin());
      const auto header = parse_header(bytes);
      if (!header.ok() || rest.size() < header_bytes + header->length) break;
      if (header->kind == Kind::hello && header->length > 4)
        return load<std::uint16_t>(rest.data() + hello_stream_at);
      rest = rest.subspan(header_bytes + header->length);
    }
  }
  return std::nullopt;
}

// Of a path that has forgotten the stream: neither end is told.
void World::silence(const Way& way, std::int64_t patience_ns) {
  Pipe& pipe = way.pipe();
  if (pipe.sent == Ending::reset) return;
  const bool waits = !pipe.flying.empty() || pipe.waiting() > 0;
  pipe.flying.clear();
  drop_unsent(pipe);
  pipe.dead = pipe.silent = true;
  pipe.patience_ns = patience_ns;
  plan_flight(way);
  if (waits) lose_patience(way);
}

// As TCP does with bytes that nobody acknowledges.
void World::lose_patience(const Way& way) {
  const std::int64_t patience_ns = std::exchange(way.pipe().patience_ns, never_ns);
  if (patience_ns == never_ns) return;
  schedule(now_ns_ + patience_ns, [this, way] {
    Endpoint& end = way.writer();
    note("timeout", name(way), 0);
    const Status why = peer_lost("the connection to " + way.reader().address + " timed out");
    if (end.ended.ok()) end.ended = why;
    if (end.broken.ok()) end.broken = why;
    end.readable = end.writable = true;
    wake(end.host);
  });
}

void World::take_turn(const Way& way) {
  Pipe& pipe = way.pipe();
  if (pipe.queued) return;
  pipe.queued = true;
  host(way.writer().host).turns.push_back(way);
  serve(way.writer().host);
}

void World::serve(int site) {
  Host& h = host(site);
  while (!h.sending && !h.turns.empty()) {
    const Way way = h.turns.front();
    h.turns.pop_front();
    Pipe& pipe = way.pipe();
    pipe.queued = false;
    const std::int64_t busy_ns = pipe.waiting() > 0 ? launch(way) : 0;
    if (pipe.waiting() > 0) {
      pipe.queued = true;
      h.turns.push_back(way);
    } else if (pipe.closing != Ending::none) {
      end_with(way, pipe.closing);
    }
    if (busy_ns == 0) continue;
    h.sending = true;
    schedule(now_ns_ + busy_ns, [this, site] {
      host(site).sending = false;
      serve(site);
    });
  }
}

Segment World::take_segment(const Way& way) {
  Pipe& pipe = way.pipe();
  std::size_t size = settings.max_segment_bytes;
  if (settings.torn)
    size = random.between<std::size_t>(
        1, random.one_in(tiny_segment_one_in) ? std::min(size, tiny_segment_bytes) : size);
  size = std::min(size, pipe.waiting());
  Segment segment;
  const auto from = pipe.unsent.begin() + static_cast<std::ptrdiff_t>(pipe.unsent_from);
  segment.bytes.assign(from, from + static_cast<std::ptrdiff_t>(size));
  segment.credit = size;
  pipe.unsent_from += size;
  if (pipe.waiting() == 0) drop_unsent(pipe);
  return segment;
}

std::int64_t World::launch(const Way& way) {
  Pipe& pipe = way.pipe();
  const int from = way.writer().host;
  const int to = way.reader().host;
  const Host& h = host(from);
  Segment segment = take_segment(way);
  const std::int64_t busy_ns = wire_time(way, segment.bytes.size(), h, h.up_bits_per_s);
  note("send", name(way), segment.bytes.size());
  if (h.tamper) h.tamper(segment.bytes);
  if (pipe.damage_next) damage(way, segment.bytes);
  segment.first_ns = now_ns_ + delay(from, to);
  for (int i = 0; i < most_losses && random.chance(path(from, to).loss); ++i) {
    // The gap is seen one round trip after the segment, or some time later.
    const std::int64_t round_trip = 2 * path(from, to).latency_ns;
    segment.first_ns += round_trip + random.between<std::int64_t>(0, round_trip);
    ++pipe.retransmits;
    note("lose", name(way), segment.bytes.size());
  }
  // Apart from each other, so that a reader finds the stream torn at any place.
  if (settings.torn)
    segment.first_ns = std::max(segment.first_ns, pipe.last_first_ns) +
                       random.between<std::int64_t>(0, torn_gap_ns);
  pipe.last_first_ns = segment.first_ns;
  segment.due_ns = segment.first_ns + busy_ns;
  pipe.flying.push_back(std::move(segment));
  if (pipe.flying.size() == 1) plan_flight(way);
  if (std::exchange(pipe.truncate_next, false)) {
    break_off(way);
    break_off(way.back());
  }
  return busy_ns;
}

void World::damage(const Way& way, std::vector<std::byte>& bytes) {
  Pipe& pipe = way.pipe();
  auto first = bytes.begin();
  auto last = bytes.end();
  if (pipe.damage_next == Damage::header) {
    std::array<std::byte, sizeof frame_magic> magic;
    store(magic.data(), frame_magic);
    first = std::search(bytes.begin(), bytes.end(), magic.begin(), magic.end());
    if (last - first > static_cast<std::ptrdiff_t>(header_bytes)) last = first + header_bytes;
  }
  if (first == last) return;  // no header begins here: a later segment
  const auto at =
      static_cast<std::ptrdiff_t>(random.below(static_cast<std::uint64_t>(last - first)));
  first[at] ^= static_cast<std::byte>(random.between(1, 255));
  pipe.damage_next.reset();
  note("corrupt", name(way), static_cast<std::uint64_t>(at));
}

void World::end_with(const Way& way, Ending ending) {
  Pipe& pipe = way.pipe();
  if (pipe.silent) return;
  if (pipe.closing != Ending::reset) pipe.closing = ending;
  if (pipe.waiting() > 0 || !way.writer().connected) return;
  if (pipe.sent == Ending::reset || pipe.sent == pipe.closing) return;
  pipe.sent = pipe.closing;
  Segment segment;
  segment.ending = pipe.closing;
  segment.due_ns = segment.first_ns = now_ns_ + delay(way.writer().host, way.reader().host);
  pipe.flying.push_back(std::move(segment));
  if (pipe.flying.size() == 1) plan_flight(way);
}

// Segments land in order, so only the first one has an event.
void World::plan_flight(const Way& way) {
  Pipe& pipe = way.pipe();
  const std::uint64_t flight = ++pipe.flight;
  if (pipe.flying.empty()) return;
  schedule(pipe.flying.front().due_ns, [this, way, flight] {
    if (way.pipe().flight == flight) land(way);
  });
}

void World::land(const Way& way) {
  Pipe& pipe = way.pipe();
  Segment& head = pipe.flying.front();
  const int from = way.writer().host;
  const int to = way.reader().host;
  if (!head.inside) {
    const std::int64_t cut_until = path(from, to).cut_until_ns;
    const std::int64_t still_until = std::max(cut_until, pipe.clogged_until_ns);
    if (still_until == never_ns) return;  // heal() plans the flight anew
    if (still_until > now_ns_) {
      head.due_ns = still_until + (cut_until == still_until ? delay(from, to) : 0);
      return plan_flight(way);
    }
    // A downlink as fast as the sender's uplink adds nothing: bytes pass it as they come.
    Host& h = host(to);
    const std::int64_t begin = std::max(head.first_ns, h.down_free_ns);
    const std::int64_t busy_ns = wire_time(way, head.bytes.size(), h, h.down_bits_per_s);
    head.due_ns = std::max(now_ns_, begin + busy_ns);
    head.inside = true;
    if (busy_ns > 0) h.down_free_ns = head.due_ns;
    if (head.due_ns > now_ns_) return plan_flight(way);
  }
  Segment segment = std::move(head);
  pipe.flying.pop_front();
  plan_flight(way);
  deliver(way, std::move(segment));
}

void World::deliver(const Way& way, Segment segment) {
  if (segment.ending != Ending::none) return deliver_ending(way, segment.ending);
  Pipe& pipe = way.pipe();
  Endpoint& reader = way.reader();
  note("deliver", name(way), segment.bytes.size(), segment.bytes);
  if (!reader.held) {
    pipe.dead = true;
    drop_unsent(pipe);
    return end_with(way.back(), Ending::reset);
  }
  pipe.arrived_bytes += segment.bytes.size();
  pipe.arrived.push_back(std::move(segment));
  reader.readable = true;
  wake(reader.host);
}

void World::deliver_ending(const Way& way, Ending ending) {
  Endpoint& reader = way.reader();
  const std::string peer = "the connection to " + way.writer().address;
  note(ending == Ending::reset ? "reset" : "end", name(way), 0);
  if (reader.ended.ok())
    reader.ended = peer_lost(peer + (ending == Ending::reset ? " was reset" : " was closed"));
  if (ending == Ending::reset) {
    reader.broken = peer_lost(peer + " was reset");
    way.back().pipe().dead = true;
    drop_unsent(way.back().pipe());
    reader.writable = true;
  }
  reader.readable = true;
  wake(reader.host);
}

std::size_t World::read(const Way& way, std::span<const ByteSpan> pieces) {
  Pipe& pipe = way.pipe();
  Endpoint& reader = way.reader();
  const std::size_t asked = total(pieces);
  std::size_t moved = std::min(asked, pipe.arrived_bytes);
  const bool cut_short = settings.torn && moved > 1 && random.one_in(short_read_one_in);
  if (cut_short) moved = random.between<std::size_t>(1, moved - 1);
  std::size_t done = 0;
  for (ByteSpan piece : pieces) {
    while (!piece.empty() && done < moved) {
      const ByteView front = ByteView(pipe.arrived.front().bytes).subspan(pipe.read_from);
      const std::size_t part = std::min({piece.size(), front.size(), moved - done});
      std::copy_n(front.begin(), part, piece.begin());
      piece = piece.subspan(part);
      done += part;
      pipe.read_from += part;
      if (part < front.size()) continue;
      give_credit(way, pipe.arrived.front().credit);
      pipe.arrived.pop_front();
      pipe.read_from = 0;
    }
  }
  pipe.arrived_bytes -= moved;
  // The end, if it is known, is still to be read.
  if (moved < asked) reader.readable = !cut_short && !reader.ended.ok();
  if (cut_short) remind(way.connection, 1 - way.side, &Endpoint::readable);
  return moved;
}

// The news that bytes were read passes cuts: what a writer learns late only makes it slower.
void World::give_credit(const Way& way, std::size_t bytes) {
  const int from = way.reader().host;
  const int to = way.writer().host;
  schedule(now_ns_ + delay(from, to), [this, way, bytes] {
    way.pipe().window_used -= bytes;
    if (std::exchange(way.writer().writable, true)) return;
    wake(way.writer().host);
  });
}

void World::let_go(const Way& way) {
  Endpoint& end = way.writer();
  if (!std::exchange(end.held, false)) return;
  cancel(way.connection->timeout);
  // As TCP: bytes that nobody will read are answered with a reset.
  Pipe& unread = way.back().pipe();
  end_with(way, unread.arrived_bytes > 0 ? Ending::reset : Ending::finished);
  unread.arrived.clear();
  unread.arrived_bytes = 0;
}

void World::break_off(const Way& way) {
  Pipe& pipe = way.pipe();
  if (pipe.sent == Ending::reset) return;
  std::size_t flying = 0;
  for (const Segment& s : pipe.flying) flying += s.bytes.size();
  std::size_t keep = random.below(flying + pipe.waiting() + 1);
  note("break", name(way), keep);
  std::deque<Segment> kept;
  for (Segment& s : pipe.flying) {
    s.bytes.resize(std::min(keep, s.bytes.size()));
    keep -= s.bytes.size();
    if (!s.bytes.empty()) kept.push_back(std::move(s));
  }
  pipe.flying = std::move(kept);
  pipe.unsent.resize(pipe.unsent_from + keep);
  if (pipe.waiting() == 0) drop_unsent(pipe);
  pipe.dead = true;
  pipe.sent = Ending::none;  // an end that was flying is lost
  plan_flight(way);
  end_with(way, Ending::reset);
}

}  // namespace isthmus::sim
