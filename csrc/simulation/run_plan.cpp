#include "simulation/run_plan.hpp"

#include <algorithm>
#include <array>

#include "base/random.hpp"

namespace isthmus {
namespace {

constexpr int most_blows = 4;

template <class T, std::size_t n>
T pick(Random& random, const std::array<T, n>& from) {
  return from[random.below(n)];
}

// Nobody notices, or everybody does: nothing in between.
std::int64_t draw_length(Random& random, const RunPlan& plan) {
  const std::int64_t hb = plan.world.heartbeat_timeout_ns;
  if (random.one_in(3)) return random.between<std::int64_t>(hb / 100, hb * 4 / 10);
  return random.between<std::int64_t>(hb * 12 / 10, 4 * hb);
}

// Faults come together: after the first most come just after something that it has set off.
void draw_moment(Random& random, bool first, BlowPlan& blow) {
  if (random.one_in(first ? 2 : 6)) {
    blow.what.at_ns = random.between<std::int64_t>(0, 8 * second_ns);
    return;
  }
  blow.after = first ? pick(random, std::array{Milestone::came, Milestone::joined,
                                               Milestone::trained, Milestone::trained})
                     : static_cast<Milestone>(random.between(static_cast<int>(Milestone::came),
                                                             static_cast<int>(Milestone::trained)));
  blow.nth = random.between(1, blow.after == Milestone::trained ? 20 : 3);
  blow.there = random.one_in(2);
  const std::int64_t within_ns = pick(random, std::array{1L, 20L, 300L, 1500L}) * millisecond_ns;
  blow.what.at_ns = random.between<std::int64_t>(0, within_ns);
}

BlowPlan draw_blow(Random& random, const RunPlan& plan) {
  BlowPlan blow;
  TroublePlan& what = blow.what;
  what.kind = pick(
      random, std::array{Trouble::kill, Trouble::kill, Trouble::kill, Trouble::kill,
                         Trouble::freeze, Trouble::freeze, Trouble::isolate, Trouble::cut,
                         Trouble::cut, Trouble::truncate, Trouble::corrupt, Trouble::slow,
                         Trouble::clog, Trouble::coordinator_killed, Trouble::coordinator_killed});
  const auto world = static_cast<std::uint64_t>(plan.world.world());
  what.site = static_cast<int>(random.below(world));
  what.peer = static_cast<int>(
      (static_cast<std::uint64_t>(what.site) + 1 + random.below(world - 1)) % world);
  what.for_ns = draw_length(random, plan);
  what.factor = random.between(2, 4);
  draw_moment(random, plan.blows.empty(), blow);
  const bool may_be_coordinators =
      what.kind == Trouble::freeze || what.kind == Trouble::isolate || what.kind == Trouble::cut;
  if (may_be_coordinators && random.one_in(5)) {
    what.site = plan.world.world();
    blow.there = false;
  }
  if (what.kind == Trouble::clog)
    what.for_ns = std::min(what.for_ns, plan.world.heartbeat_timeout_ns * 4 / 10);
  return blow;
}

// What happens to single data streams, in two of three runs; in some nothing else does. Numbers of
// its own, so that a seed's run is else what it would be.
void draw_stream_blows(std::uint64_t seed, RunPlan& plan) {
  constexpr int most_at_once = 4;
  Random random(mix(seed ^ 0x57e4a5));
  if (random.one_in(3)) return;
  if (random.one_in(4)) plan.blows.clear();
  for (SitePlan& site : plan.world.sites)
    if (random.one_in(2)) site.streams = random.between(1, 4);
  const auto world = static_cast<std::uint64_t>(plan.world.world());
  for (int left = random.between(1, 3); left > 0; --left) {
    BlowPlan blow;
    blow.what.kind =
        pick(random, std::array{Trouble::reset, Trouble::reset, Trouble::reset, Trouble::silence,
                                Trouble::payload, Trouble::payload, Trouble::payload});
    blow.what.site = static_cast<int>(random.below(world));
    blow.what.peer = static_cast<int>(
        (static_cast<std::uint64_t>(blow.what.site) + 1 + random.below(world - 1)) % world);
    blow.what.for_ns = 0;
    draw_moment(random, plan.blows.empty(), blow);
    const int times = blow.what.kind == Trouble::silence ? 1 : random.between(1, most_at_once);
    for (int time = 0; time < times; ++time) {
      plan.blows.push_back(blow);
      blow.what.at_ns += random.between<std::int64_t>(0, 100 * millisecond_ns);
    }
  }
}

// Control streams, in a third of the runs.
void draw_control_blows(std::uint64_t seed, RunPlan& plan) {
  Random random(mix(seed ^ 0xc27));
  if (!random.one_in(3)) return;
  const auto world = static_cast<std::uint64_t>(plan.world.world());
  for (int left = random.between(1, 3); left > 0; --left) {
    BlowPlan blow;
    blow.what.kind = Trouble::control;
    blow.what.site = static_cast<int>(random.below(world));
    blow.what.peer = static_cast<int>(
        (static_cast<std::uint64_t>(blow.what.site) + 1 + random.below(world - 1)) % world);
    blow.what.for_ns = 0;
    draw_moment(random, plan.blows.empty(), blow);
    plan.blows.push_back(blow);
  }
}

// Fewest sites that go on, in a fifth of the runs.
void draw_min_sites(std::uint64_t seed, WorldPlan& world) {
  Random random(mix(seed ^ 0x58d));
  if (random.one_in(5)) world.min_sites = random.between(2, world.world());
}

}  // namespace

RunPlan draw_run(std::uint64_t seed, bool streams) {
  Random random(mix(seed ^ 0x7a1e0f5));
  RunPlan plan;
  WorldPlan& world = plan.world;
  world = draw_world(seed, false);
  world.operations.clear();
  world.streams.clear();
  world.blocks.clear();
  for (SitePlan& site : world.sites) site.listens = true;
  world.on_loss = random.one_in(2) ? OnLoss::carry_on : OnLoss::wait;
  if (random.one_in(3)) world.favourite = random.between(0, world.world() - 1);
  world.heartbeat_timeout_ns = random.between<std::int64_t>(1000, 3000) * millisecond_ns;
  world.timeout_ns = random.between<std::int64_t>(20, 40) * second_ns;
  plan.serves = random.one_in(4);
  plan.fixed_ports = random.one_in(2);
  plan.orderly = random.one_in(2);
  plan.checks = random.one_in(2);
  plan.operations = random.between(1, 4);
  plan.elements = pick(random, std::array{20UL, 300UL, 3000UL, 20'000UL});
  plan.parameters = pick(random, std::array{10UL, 1000UL, 5000UL, 40'000UL});
  plan.chunk_bytes = pick(random, std::array{1UL << 10, 8UL << 10, 64UL << 10, 1UL << 20});
  // A hand-over of very many operations shows nothing that one of some does not.
  constexpr std::size_t most_chunks = 40;
  plan.chunk_bytes = std::max(plan.chunk_bytes, plan.parameters * sizeof(float) / most_chunks);
  plan.think_ns = pick(random, std::array{10L, 100L, 400L}) * millisecond_ns;
  plan.absence_ns = pick(random, std::array{100L, 1000L, 4000L}) * millisecond_ns;
  plan.lives.assign(world.sites.size(), -1);
  if (random.one_in(5)) plan.lives[random.below(world.sites.size())] = random.between(1, 2);
  if (plan.serves) plan.lives[0] = -1;  // without a coordinator nobody comes in
  const int blows = random.between(1, most_blows);
  for (int i = 0; i < blows; ++i) plan.blows.push_back(draw_blow(random, plan));
  if (streams) draw_stream_blows(seed, plan);
  if (streams) draw_control_blows(seed, plan);
  draw_min_sites(seed, world);
  return plan;
}

bool harmless(const BlowPlan& blow, const RunPlan& plan) {
  const auto strikes = [&](auto... kinds) {
    return std::ranges::any_of(
        plan.blows, [&](const BlowPlan& one) { return ((one.what.kind == kinds) || ...); });
  };
  const std::int64_t for_ns = blow.what.for_ns;
  const bool of_coordinator = blow.what.site == plan.world.world();
  switch (blow.what.kind) {
    case Trouble::slow:
      return true;
    // Whose last data stream ends while it has no control stream is lost, and the other way round.
    case Trouble::reset:
    case Trouble::silence:
    case Trouble::payload:
      return !strikes(Trouble::control);
    case Trouble::control:
      return !strikes(Trouble::reset, Trouble::silence, Trouble::payload, Trouble::freeze,
                      Trouble::isolate, Trouble::cut, Trouble::clog, Trouble::slow);
    case Trouble::coordinator_killed:
      return !plan.serves && blow.after != Milestone::came && blow.after != Milestone::joined &&
             blow.what.at_ns >= plan.world.begin_ns();
    case Trouble::freeze:
    case Trouble::isolate:
    case Trouble::cut:
    case Trouble::clog:
      // Without a control stream half a heartbeat timeout of silence is too much.
      return (of_coordinator && !plan.serves) ||
             (for_ns < plan.world.heartbeat_timeout_ns / 2 && !strikes(Trouble::control));
    default:
      return false;
  }
}

const char* name_of(Trouble kind) {
  constexpr std::array names = {
      "kill", "freeze", "cut",    "isolate",     "clog",  "slow",    "truncate", "corrupt",
      "lie",  "leave",  "absent", "coordinator", "reset", "silence", "payload",  "control"};
  static_assert(names.size() == static_cast<std::size_t>(Trouble::control) + 1);
  return names[static_cast<std::size_t>(kind)];
}

const char* name_of(Milestone milestone) {
  constexpr std::array names = {"",        "came",   "joined", "noticed", "installed",
                                "stuck",   "called", "met",    "ready",   "changed",
                                "handing", "agreed", "trained"};
  return names[static_cast<std::size_t>(milestone)];
}

}  // namespace isthmus
