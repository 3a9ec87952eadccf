#include "net/sim.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "net/sim_stream.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t loopback_latency_ns = 20'000;

}  // namespace

SimNet::SimNet(const SimSettings& settings) : world_(std::make_shared<sim::World>(settings)) {
  for (int site = 0; site < settings.sites; ++site) {
    world_->path(site, site) = {.latency_ns = loopback_latency_ns};
    networks_.push_back(std::make_unique<sim::SimNetwork>(world_, site));
  }
}

SimNet::~SimNet() = default;

std::int64_t SimNet::now_ns() const {
  return world_->now_ns();
}

Network& SimNet::network(int site) {
  return *networks_.at(static_cast<std::size_t>(site));
}

void SimNet::add(int site, Actor& actor) {
  ISTHMUS_CHECK(site >= 0 && site < world_->settings.sites && world_->host(site).alive);
  running_.push_back({site, &actor, 0, world_->host(site).life, false});
}

void SimNet::at(std::int64_t when_ns, std::function<void()> call) {
  world_->schedule(when_ns, std::move(call));
}

SimEnd SimNet::run_until(const std::function<bool()>& done, std::int64_t limit_ns) {
  int steps_left = world_->settings.steps_at_one_instant;
  while (true) {
    while (world_->run_event()) {
      if (--steps_left < 0) return SimEnd::livelock;
    }
    const bool stepped = step_all();
    if (done()) return SimEnd::reached;
    if (stepped) {
      if (--steps_left < 0) return SimEnd::livelock;
      continue;
    }
    const std::int64_t next_ns = std::min(world_->next_event(), next_deadline());
    if (next_ns == never_ns) return SimEnd::stuck;
    if (next_ns > limit_ns) {
      world_->advance(std::max(limit_ns, now_ns()));
      return SimEnd::out_of_time;
    }
    if (next_ns > now_ns()) steps_left = world_->settings.steps_at_one_instant;
    world_->advance(std::max(next_ns, now_ns()));
  }
}

std::int64_t SimNet::next_deadline() const {
  std::int64_t next_ns = never_ns;
  for (const Running& r : running_) {
    const sim::Host& host = world_->host(r.site);
    if (!host.alive || r.life != host.life) continue;
    // Woken while it was frozen, it goes on as soon as it can.
    const std::int64_t wanted_ns = host.woken ? now_ns() : r.deadline_ns;
    next_ns = std::min(next_ns, std::max(wanted_ns, host.frozen_until_ns));
  }
  return next_ns;
}

// Steps whoever has something to do now, in an order drawn by the seed; false: nobody had.
bool SimNet::step_all() {
  order_.clear();
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Running& r = running_[i];
    const sim::Host& host = world_->host(r.site);
    const bool able = host.alive && r.life == host.life && host.frozen_until_ns <= now_ns();
    if (able && (host.woken || r.deadline_ns <= now_ns())) order_.push_back(i);
  }
  for (const std::size_t i : order_) world_->host(running_[i].site).woken = false;
  for (std::size_t left = order_.size(); left > 1; --left)
    std::swap(order_[left - 1], order_[world_->random.below(left)]);
  for (const std::size_t i : order_) {
    const std::int64_t deadline_ns = running_[i].actor->step(now_ns());
    running_[i].deadline_ns = deadline_ns;
    world_->note("step", i, static_cast<std::uint64_t>(deadline_ns));
  }
  return !order_.empty();
}

void SimNet::set_rates(int site, std::int64_t up_bits_per_s, std::int64_t down_bits_per_s) {
  ISTHMUS_CHECK(up_bits_per_s >= 0 && down_bits_per_s >= 0);
  world_->host(site).up_bits_per_s = up_bits_per_s;
  world_->host(site).down_bits_per_s = down_bits_per_s;
}

void SimNet::set_path(int site, int peer, std::int64_t latency_ns, std::int64_t jitter_ns,
                      double loss) {
  ISTHMUS_CHECK(latency_ns >= 0 && jitter_ns >= 0);
  for (sim::Path* path : {&world_->path(site, peer), &world_->path(peer, site)}) {
    path->latency_ns = latency_ns;
    path->jitter_ns = jitter_ns;
    path->loss = loss;
  }
}

void SimNet::set_not_dialable(int site, bool refuse) {
  world_->host(site).dialable = false;
  world_->host(site).refuses = refuse;
}

void SimNet::block(int site, int peer, bool refuse) {
  world_->path(site, peer).dialling = refuse ? sim::Dialling::refused : sim::Dialling::unanswered;
}

std::uint64_t SimNet::trace_hash() const {
  return world_->trace;
}

std::vector<std::string> SimNet::log() const {
  return {world_->log.begin(), world_->log.end()};
}

}  // namespace isthmus
