// What goes wrong in the simulated world, by script or by seed.
#include "base/check.hpp"
#include "net/sim_world.hpp"

namespace isthmus {
namespace {

using sim::Way;

constexpr int longest_slow_factor = 20;

std::int64_t end_of(std::int64_t now_ns, std::int64_t for_ns) {
  ISTHMUS_CHECK(for_ns >= 0);
  return for_ns == never_ns ? never_ns : now_ns + for_ns;
}

std::string seconds(std::int64_t ns) {
  const std::string thousandths = std::to_string(1000 + ns / millisecond_ns % 1000);
  return std::to_string(ns / second_ns) + "." + thousandths.substr(1) + " s";
}

std::uint64_t pair_number(int site, int peer) {
  return static_cast<std::uint64_t>(site) << 16 | static_cast<std::uint64_t>(peer & 0xffff);
}

std::optional<Way> choose(sim::World& world, int site, int peer) {
  const std::vector<Way> ways = world.ways(site, peer);
  if (ways.empty()) return std::nullopt;
  return ways[world.random.below(ways.size())];
}

std::optional<Way> choose(sim::World& world, int site, int peer, bool control) {
  std::vector<Way> ways = world.ways(site, peer);
  std::erase_if(ways, [control](const Way& way) {
    const auto stream = way.stream();
    return !stream || (*stream == 0) != control;
  });
  if (ways.empty()) return std::nullopt;
  return ways[world.random.below(ways.size())];
}

bool reset(sim::World& world, const std::optional<Way>& way, const char* what) {
  if (!way) return false;
  world.note(what, way->connection->id, 0);
  world.break_off(*way);
  world.break_off(way->back());
  return true;
}

}  // namespace

void SimNet::kill(int site) {
  sim::Host& h = world_->host(site);
  if (!std::exchange(h.alive, false)) return;
  world_->note("kill", static_cast<std::uint64_t>(site), 0);
  for (auto it = world_->listeners.begin(); it != world_->listeners.end();) {
    const auto next = std::next(it);
    if (it->second.host == site) world_->close_listener(it->first, it->second.life);
    it = next;
  }
  for (auto& [id, held] : world_->connections) {
    const sim::ConnectionPtr connection = held.lock();
    if (!connection) continue;
    for (const int side : {0, 1}) {
      const Way way{connection, side};
      if (way.writer().host != site || !way.writer().held) continue;
      way.writer().held = false;
      world_->cancel(connection->timeout);
      if (way.writer().connected) world_->break_off(way);
    }
  }
  ++h.life;
}

void SimNet::revive(int site) {
  world_->note("revive", static_cast<std::uint64_t>(site), 0);
  world_->host(site).alive = true;
  world_->host(site).frozen_until_ns = now_ns();
}

void SimNet::freeze(int site, std::int64_t for_ns) {
  sim::Host& h = world_->host(site);
  h.frozen_until_ns = std::max(h.frozen_until_ns, end_of(now_ns(), for_ns));
  world_->note("freeze", static_cast<std::uint64_t>(site), 0);
}

void SimNet::cut(int site, int peer, std::int64_t for_ns) {
  world_->note("cut", pair_number(site, peer), 0);
  for (sim::Path* path : {&world_->path(site, peer), &world_->path(peer, site)})
    path->cut_until_ns = std::max(path->cut_until_ns, end_of(now_ns(), for_ns));
}

void SimNet::cut(int site, std::int64_t for_ns) {
  for (int peer = 0; peer < world_->settings.sites; ++peer)
    if (peer != site) cut(site, peer, for_ns);
}

void SimNet::heal(int site, int peer) {
  world_->note("heal", pair_number(site, peer), 0);
  world_->path(site, peer).cut_until_ns = world_->path(peer, site).cut_until_ns = now_ns();
  for (const auto& [id, held] : world_->connections) {
    const sim::ConnectionPtr connection = held.lock();
    if (!connection) continue;
    for (const int side : {0, 1}) {
      const Way way{connection, side};
      const int from = way.writer().host;
      const int to = way.reader().host;
      if (!(from == site && to == peer) && !(from == peer && to == site)) continue;
      way.pipe().clogged_until_ns = now_ns();
      world_->plan_flight(way);
    }
  }
  // Those of other cuts park again.
  for (sim::Call& call : std::exchange(world_->parked, {})) call();
}

void SimNet::slow(int site, int factor, std::int64_t for_ns) {
  ISTHMUS_CHECK(factor >= 1);
  world_->note("slow", static_cast<std::uint64_t>(site), static_cast<std::uint64_t>(factor));
  world_->host(site).slow_factor = factor;
  if (for_ns != never_ns)
    world_->schedule(now_ns() + for_ns, [this, site] { world_->host(site).slow_factor = 1; });
}

bool SimNet::clog(int site, int peer, std::int64_t for_ns) {
  const auto way = choose(*world_, site, peer);
  if (!way) return false;
  world_->note("clog", way->connection->id, 0);
  way->pipe().clogged_until_ns = end_of(now_ns(), for_ns);
  return true;
}

bool SimNet::truncate(int site, int peer) {
  const auto way = choose(*world_, site, peer);
  if (!way) return false;
  world_->note("truncate", way->connection->id, 0);
  if (way->pipe().flying.empty() && way->pipe().waiting() == 0) {
    way->pipe().truncate_next = true;  // in the middle of what comes next
    return true;
  }
  world_->break_off(*way);
  world_->break_off(way->back());
  return true;
}

bool SimNet::corrupt(int site, int peer, Damage damage) {
  const auto way =
      damage == Damage::data ? choose(*world_, site, peer, false) : choose(*world_, site, peer);
  if (way) way->pipe().damage_next = damage;
  return way.has_value();
}

bool SimNet::reset_data(int site, int peer) {
  return reset(*world_, choose(*world_, site, peer, false), "reset data");
}

bool SimNet::reset_control(int site, int peer) {
  return reset(*world_, choose(*world_, site, peer, true), "reset control");
}

bool SimNet::silence_data(int site, int peer, std::int64_t patience_ns) {
  const auto way = choose(*world_, site, peer, false);
  if (!way) return false;
  world_->note("silence data", way->connection->id, 0);
  world_->silence(*way, patience_ns);
  world_->silence(way->back(), patience_ns);
  return true;
}

void SimNet::tamper(int site, Tamper tamper) {
  world_->host(site).tamper = std::move(tamper);
}

std::vector<std::string> SimNet::storm(const Storm& storm) {
  ISTHMUS_CHECK(!storm.faults.empty() && storm.from_ns <= storm.until_ns);
  ISTHMUS_CHECK(world_->settings.sites > 1 && storm.longest_ns > 0);
  std::vector<std::string> sentences;
  for (int i = 0; i < storm.count; ++i) {
    const auto chosen = world_->random.below(storm.faults.size());
    sentences.push_back(plan(storm.faults[chosen], storm));
  }
  return sentences;
}

// Draws the rest of a fault, plans it, and says it.
std::string SimNet::plan(Fault fault, const Storm& storm) {
  Random& random = world_->random;
  const int sites = world_->settings.sites;
  const auto when_ns = random.between(storm.from_ns, storm.until_ns);
  const auto for_ns = random.between<std::int64_t>(1, storm.longest_ns);
  const int site = random.between(0, sites - 1);
  const int peer = (site + random.between(1, sites - 1)) % sites;
  const int factor = random.between(2, longest_slow_factor);
  const Damage damage = random.one_in(2) ? Damage::header : Damage::any;
  const std::string one = "site " + std::to_string(site);
  const std::string both = one + " and site " + std::to_string(peer);
  const std::string stream = "a stream of " + one + " to site " + std::to_string(peer);
  const std::string start = "at " + seconds(when_ns) + ": ";
  const std::string during = " for " + seconds(for_ns);
  switch (fault) {
    case Fault::kill:
      at(when_ns, [=, this] { kill(site); });
      return start + "kill " + one;
    case Fault::freeze:
      at(when_ns, [=, this] { freeze(site, for_ns); });
      return start + "freeze " + one + during;
    case Fault::cut:
      at(when_ns, [=, this] { cut(site, peer, for_ns); });
      return start + "cut between " + both + during;
    case Fault::clog:
      at(when_ns, [=, this] { clog(site, peer, for_ns); });
      return start + "clog " + stream + during;
    case Fault::slow:
      at(when_ns, [=, this] { slow(site, factor, for_ns); });
      return start + "slow " + one + " " + std::to_string(factor) + " times" + during;
    case Fault::truncate:
      at(when_ns, [=, this] { truncate(site, peer); });
      return start + "truncate " + stream;
    case Fault::corrupt:
      at(when_ns, [=, this] { corrupt(site, peer, damage); });
      return start + "corrupt " + stream;
  }
  return {};
}

}  // namespace isthmus
