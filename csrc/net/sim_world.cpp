#include "net/sim_world.hpp"

#include "base/check.hpp"

namespace isthmus::sim {
namespace {

std::uint64_t hash_bytes(std::uint64_t hash, ByteView bytes) {
  while (bytes.size() >= 8) {
    hash = mix(hash ^ load<std::uint64_t>(bytes.data()));
    bytes = bytes.subspan(8);
  }
  std::uint64_t rest = bytes.size();
  for (const std::byte b : bytes) rest = (rest << 8) | std::to_integer<std::uint64_t>(b);
  return mix(hash ^ rest);
}

}  // namespace

std::int64_t wire_time_ns(std::size_t bytes, std::int64_t bits_per_s, std::int64_t slow_factor) {
  if (bits_per_s == 0) return 0;
  const std::int64_t bit_seconds_ns = static_cast<std::int64_t>(bytes) * 8 * second_ns;
  return (bit_seconds_ns + bits_per_s - 1) / bits_per_s * slow_factor;
}

World::World(const SimSettings& s) : settings(s), random(s.seed) {
  ISTHMUS_CHECK(s.sites > 0 && s.latency_ns >= 0 && s.jitter_ns >= 0);
  ISTHMUS_CHECK(s.window_bytes > 0 && s.max_segment_bytes > 0 && s.up_bits_per_s >= 0);
  const auto sites = static_cast<std::size_t>(s.sites);
  hosts_.resize(sites);
  for (Host& h : hosts_) {
    h.up_bits_per_s = s.up_bits_per_s;
    h.down_bits_per_s = s.down_bits_per_s;
  }
  paths_.assign(sites * sites,
                Path{.latency_ns = s.latency_ns, .jitter_ns = s.jitter_ns, .loss = s.loss});
}

Path& World::path(int from, int to) {
  ISTHMUS_CHECK(from >= 0 && from < settings.sites && to >= 0 && to < settings.sites);
  return paths_[static_cast<std::size_t>(from * settings.sites + to)];
}

void World::advance(std::int64_t to_ns) {
  ISTHMUS_CHECK(to_ns >= now_ns_);
  now_ns_ = to_ns;
}

bool World::run_event() {
  if (next_event() > now_ns_) return false;
  Call call = std::move(events_.begin()->second);
  events_.erase(events_.begin());
  call();
  return true;
}

Events::iterator World::schedule(std::int64_t when_ns, Call call) {
  return events_.emplace(std::max(when_ns, now_ns_), std::move(call));
}

void World::cancel(std::optional<Events::iterator>& event) {
  if (event) events_.erase(*event);
  event.reset();
}

void World::note(std::string_view what, std::uint64_t subject, std::uint64_t amount,
                 ByteView bytes) {
  trace = mix(trace ^ static_cast<std::uint64_t>(now_ns_));
  trace = hash_bytes(trace, std::as_bytes(std::span(what)));
  trace = mix(mix(trace ^ subject) ^ amount);
  trace = hash_bytes(trace, bytes);
  if (settings.log_events == 0) return;
  log.push_back(std::to_string(now_ns_) + " ns: " + std::string(what) + " #" +
                std::to_string(subject) + " " + std::to_string(amount));
  if (log.size() > static_cast<std::size_t>(settings.log_events)) log.pop_front();
}

std::int64_t World::delay(int from, int to) {
  const Path& p = path(from, to);
  const std::int64_t jitter = p.jitter_ns == 0 ? 0 : random.between<std::int64_t>(0, p.jitter_ns);
  return (p.latency_ns + jitter) * std::max(host(from).slow_factor, host(to).slow_factor);
}

void World::carry(int from, int to, Call call) {
  schedule(now_ns_ + delay(from, to), [this, from, to, call = std::move(call)]() mutable {
    const std::int64_t cut_until = path(from, to).cut_until_ns;
    if (cut_until <= now_ns_) return call();
    // As TCP: it is sent again until it passes.
    Call again = [this, from, to, sent = std::move(call)]() mutable {
      carry(from, to, std::move(sent));
    };
    if (cut_until == never_ns)
      parked.push_back(std::move(again));
    else
      schedule(cut_until, std::move(again));
  });
}

std::vector<Way> World::ways(int from, int to) {
  std::vector<Way> found;
  for (auto it = connections.begin(); it != connections.end();) {
    const ConnectionPtr c = it->second.lock();
    if (!c) {
      it = connections.erase(it);
      continue;
    }
    ++it;
    if (!c->ends[0].connected || !c->ends[1].connected) continue;
    for (const int side : {0, 1}) {
      const Way way{c, side};
      if (way.writer().host == from && (to < 0 || way.reader().host == to) && !way.pipe().dead)
        found.push_back(way);
    }
  }
  return found;
}

}  // namespace isthmus::sim
