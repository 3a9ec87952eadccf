#include "simulation/plan.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "codecs/codec.hpp"

namespace isthmus {
namespace {

constexpr std::array names = {"amber", "birch", "cedar", "delta",
                              "ember", "fjord", "grove", "haven"};
constexpr std::int64_t megabit = 1'000'000;
constexpr std::int64_t longest_latency_ns = 80 * millisecond_ns;
constexpr int most_operations = 6;
constexpr std::int64_t other_ways_ns = 10 * second_ns;

template <class T, std::size_t n>
T pick(Random& random, const std::array<T, n>& from) {
  return from[random.below(n)];
}

std::uint64_t draw_elements(Random& random) {
  if (random.one_in(40)) return random.between<std::uint64_t>(100'000, 300'000);
  if (random.one_in(8)) return random.between<std::uint64_t>(5'000, 80'000);
  if (random.one_in(3)) return random.between<std::uint64_t>(1, 9);
  return random.between<std::uint64_t>(10, 5'000);
}

// Any codec of the table that the schedule can take.
std::string draw_codec(Random& random, bool recodable) {
  const auto table = codecs::all();
  while (true) {
    const codecs::Codec& codec = table[random.below(table.size())];
    if (codec.recodable || !recodable) return std::string(codec.name);
  }
}

void draw_segments(Random& random, OperationPlan& plan) {
  const bool ring = plan.algorithm == Algorithm::ring;
  const bool direct = plan.algorithm == Algorithm::direct;
  const bool plain = random.one_in(4);
  std::uint64_t left = plan.elements;
  while (left > 0) {
    const std::uint64_t elements = random.one_in(2) ? left : random.between<std::uint64_t>(1, left);
    left -= elements;
    SegmentPlan segment{.elements = elements};
    if (!plain) segment.up = draw_codec(random, ring);
    if (!plain) segment.down = draw_codec(random, ring || direct);
    plan.segments.push_back(segment);
  }
}

// What a plan for unequal links may say: any shares, also of nothing, and any slice.
void draw_cut(Random& random, int world, OperationPlan& plan) {
  if (random.one_in(2)) return;
  constexpr std::array slices = {codecs::max_granule, default_slice_elements,
                                 4 * default_slice_elements};
  plan.slice_elements = pick(random, slices);
  std::uint32_t left = whole_share;
  for (int owner = 1; owner < world; ++owner) {
    plan.shares.push_back(random.one_in(4) ? 0 : random.between<std::uint32_t>(0, left));
    left -= plan.shares.back();
  }
  plan.shares.push_back(left);
}

// Half of the rings go round in another order than that of the ranks. Numbers of its own, so that a
// seed's world is else what it would be.
void draw_orders(std::uint64_t seed, WorldPlan& plan) {
  Random random(mix(seed ^ 0x0d3e5));
  for (OperationPlan& operation : plan.operations) {
    if (operation.algorithm != Algorithm::ring || random.one_in(2)) continue;
    operation.order.resize(plan.sites.size());
    std::iota(operation.order.begin(), operation.order.end(), std::uint16_t{0});
    for (std::size_t left = operation.order.size(); left > 1; --left)
      std::swap(operation.order[random.below(left)], operation.order[left - 1]);
  }
}

OperationPlan draw_operation(Random& random, int world) {
  OperationPlan plan;
  plan.elements = draw_elements(random);
  plan.mean = random.one_in(2);
  plan.root = static_cast<int>(random.below(static_cast<std::uint64_t>(world)));
  plan.algorithm = pick(random, std::array{Algorithm::direct, Algorithm::gather, Algorithm::ring});
  draw_segments(random, plan);
  draw_cut(random, world, plan);
  const auto kind = random.below(8);
  if (kind == 0) plan.collective = Collective::broadcast;
  if (kind == 1) plan.collective = Collective::all_gather;
  const bool weighted = random.one_in(3);
  for (int site = 0; site < world; ++site)
    plan.weights.push_back(weighted ? static_cast<float>(random.between(1, 9)) : 1.0F);
  return plan;
}

// Some all-reduces become hands, without a change to anything else that the seed draws.
void draw_hands(std::uint64_t seed, WorldPlan& plan) {
  Random random(mix(seed + 0xd1b54a32d192ed03));
  for (OperationPlan& operation : plan.operations) {
    if (operation.collective != Collective::all_reduce || !random.one_in(6)) continue;
    operation.collective = Collective::hand;
    operation.algorithm = Algorithm::hand;
    operation.order.clear();
    for (int rank = 0; rank < plan.world(); ++rank)
      if (rank != operation.root && random.one_in(2))
        operation.order.push_back(static_cast<std::uint16_t>(rank));
  }
}

// Times of each site: some keep step, some run far ahead, some dawdle.
void draw_times(Random& random, WorldPlan& plan) {
  const std::int64_t pace = pick(random, std::array{0L, 10L, 100L, 1000L}) * millisecond_ns;
  for (int site = 0; site < plan.world(); ++site) {
    std::int64_t at = random.one_in(3) ? random.between<std::int64_t>(0, 2 * second_ns) : 0;
    const bool burst = random.one_in(3);
    for (OperationPlan& operation : plan.operations) {
      operation.submit_ns.push_back(at);
      if (!burst) at += random.between<std::int64_t>(0, 2 * pace);
    }
  }
}

std::int64_t draw_length(Random& random, const WorldPlan& plan) {
  const std::int64_t hb = plan.heartbeat_timeout_ns;
  if (random.one_in(2)) return random.between<std::int64_t>(hb / 100, hb * 4 / 10);
  return random.one_in(2) ? never_ns : random.between<std::int64_t>(2 * hb, 4 * hb);
}

TroublePlan draw_trouble(Random& random, const WorldPlan& plan) {
  const auto world = static_cast<std::uint64_t>(plan.world());
  TroublePlan trouble;
  trouble.kind =
      pick(random, std::array{Trouble::kill, Trouble::kill, Trouble::freeze, Trouble::cut,
                              Trouble::cut, Trouble::clog, Trouble::slow, Trouble::truncate,
                              Trouble::corrupt, Trouble::lie, Trouble::lie, Trouble::leave,
                              Trouble::absent, Trouble::coordinator_killed});
  trouble.site = static_cast<int>(random.below(world));
  trouble.peer = static_cast<int>(
      (static_cast<std::uint64_t>(trouble.site) + 1 + random.below(world - 1)) % world);
  trouble.for_ns = draw_length(random, plan);
  trouble.factor = random.between(2, 4);
  trouble.lie = pick(random, std::array{Lie::offset, Lie::length, Lie::transfer, Lie::operation,
                                        Lie::source, Lie::garbage, Lie::twice});
  const bool while_joining = random.one_in(6);
  trouble.at_ns = while_joining ? random.between<std::int64_t>(0, plan.begin_ns())
                                : plan.begin_ns() + random.between<std::int64_t>(0, 3 * second_ns);
  trouble.damage = trouble.at_ns / millisecond_ns % 2 == 0 ? Damage::header : Damage::any;
  return trouble;
}

// One pair, one way or both; or one or two sites that nobody reaches, but they all others. Always
// there is a third site that both ends of a pair have or can have a connection with. Numbers of its
// own, so that a seed's world is else what it would be.
void draw_blocks(std::uint64_t seed, WorldPlan& plan) {
  Random random(mix(seed ^ 0x6c0c2ed));
  const int world = plan.world();
  if (world < 3 || !random.one_in(3)) return;
  const int site = random.between(0, world - 1);
  const int other = (site + random.between(1, world - 1)) % world;
  const bool refuses = random.one_in(2);
  if (random.one_in(2)) {
    plan.blocks.push_back({.from = site, .to = other, .refuses = refuses});
    if (!random.one_in(3))
      plan.blocks.push_back({.from = other, .to = site, .refuses = random.one_in(2)});
    return;
  }
  const std::vector<int> hidden = random.one_in(2) ? std::vector{site, other} : std::vector{site};
  for (const int to : hidden) {
    const bool listens = random.one_in(2);
    plan.sites[static_cast<std::size_t>(to)].listens = listens;
    for (int from = 0; from < world && listens; ++from)
      if (from != to) plan.blocks.push_back({.from = from, .to = to, .refuses = refuses});
  }
}

// Apart from all that is drawn, so that a seed's world is the same without it.
std::vector<StreamsPlan> draw_streams(const WorldPlan& plan) {
  constexpr int most_streams = 6;
  Random random(mix(plan.seed + 0x51afd7ed558ccd25));
  std::vector<StreamsPlan> changes;
  const auto world = static_cast<std::uint64_t>(plan.world());
  const int count = random.one_in(2) ? random.between(1, 4 * plan.world()) : 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t site = random.below(world);
    changes.push_back({.at_ns = plan.begin_ns() + random.between<std::int64_t>(0, 2 * second_ns),
                       .site = static_cast<int>(site),
                       .peer = static_cast<int>((site + 1 + random.below(world - 1)) % world),
                       .count = random.between(1, most_streams)});
  }
  std::ranges::stable_sort(changes, {}, &StreamsPlan::at_ns);
  return changes;
}

// In a third of the worlds. Numbers of their own, so that a seed's world is else what it would be.
void draw_stream_faults(std::uint64_t seed, WorldPlan& plan) {
  Random random(mix(seed ^ 0x5742ea));
  if (!random.one_in(3)) return;
  const auto world = static_cast<std::uint64_t>(plan.world());
  const int count = random.between(1, 4);
  for (int i = 0; i < count; ++i) {
    TroublePlan trouble;
    // It stops an operation for a heartbeat timeout, and closing waits no longer than for that.
    trouble.kind = i == 0 && random.one_in(3) ? Trouble::silence : Trouble::reset;
    if (trouble.kind == Trouble::silence)
      for (SitePlan& one : plan.sites)
        one.close_after_ns = std::max(one.close_after_ns, 3 * plan.heartbeat_timeout_ns);
    const std::uint64_t site = random.below(world);
    trouble.site = static_cast<int>(site);
    trouble.peer = static_cast<int>((site + 1 + random.below(world - 1)) % world);
    const OperationPlan& operation = plan.operations[random.below(plan.operations.size())];
    trouble.at_ns = plan.begin_ns() + operation.submit_ns[site] +
                    random.between<std::int64_t>(0, 300 * millisecond_ns);
    plan.troubles.push_back(trouble);
  }
}

}  // namespace

std::int64_t WorldPlan::begin_ns() const {
  std::int64_t last = 0;
  for (const SitePlan& site : sites) last = std::max(last, site.join_ns);
  const bool all_listen = std::ranges::all_of(sites, &SitePlan::listens);
  // Joining and meshing take a few round trips, and other ways some time to be tried.
  return last + second_ns + (blocks.empty() && all_listen ? 0 : other_ways_ns);
}

std::vector<int> WorldPlan::ranks() const {
  std::vector<int> ranks;
  for (const SitePlan& site : sites)
    ranks.push_back(static_cast<int>(std::ranges::count_if(
        sites, [&](const SitePlan& other) { return other.name < site.name; })));
  return ranks;
}

bool survivable(const TroublePlan& trouble, const WorldPlan& plan) {
  switch (trouble.kind) {
    case Trouble::slow:
    case Trouble::reset:
    case Trouble::silence:
    case Trouble::payload:
    case Trouble::control:
      return true;
    case Trouble::freeze:
    case Trouble::cut:
    case Trouble::isolate:
    case Trouble::clog:
      return trouble.for_ns < plan.heartbeat_timeout_ns / 2;
    case Trouble::coordinator_killed:
      return trouble.at_ns >= plan.begin_ns();
    default:
      return false;
  }
}

namespace {

// About the time at which an operation runs, more often than not; or just after another trouble, or
// when that is noticed.
std::int64_t draw_moment(Random& random, const WorldPlan& plan) {
  const auto soon_ns = random.between<std::int64_t>(0, 300 * millisecond_ns);
  if (!plan.troubles.empty() && random.one_in(2)) {
    const std::int64_t notice_ns = random.one_in(2) ? plan.heartbeat_timeout_ns : 0;
    return plan.troubles.back().at_ns + notice_ns + soon_ns;
  }
  const auto& operation = plan.operations[random.below(plan.operations.size())];
  return plan.begin_ns() + operation.submit_ns[random.below(plan.sites.size())] + soon_ns;
}

TroublePlan draw_loss(Random& random, const WorldPlan& plan) {
  TroublePlan loss;
  loss.kind = pick(random, std::array{Trouble::kill, Trouble::kill, Trouble::kill, Trouble::freeze,
                                      Trouble::isolate, Trouble::cut, Trouble::truncate});
  const auto world = static_cast<std::uint64_t>(plan.world());
  loss.site = static_cast<int>(random.below(world));
  loss.peer = static_cast<int>(
      (static_cast<std::uint64_t>(loss.site) + 1 + random.below(world - 1)) % world);
  loss.for_ns = draw_length(random, plan);
  loss.at_ns = draw_moment(random, plan);
  return loss;
}

}  // namespace

bool has_part(const OperationPlan& operation, int rank) {
  return operation.collective != Collective::hand || rank == operation.root ||
         std::ranges::find(operation.order, rank) != operation.order.end();
}

OperationPlan draw_reduction(Random& random, int world, std::uint64_t elements) {
  OperationPlan plan;
  plan.elements = elements;
  plan.mean = random.one_in(2);
  plan.algorithm = pick(random, std::array{Algorithm::direct, Algorithm::gather, Algorithm::ring});
  draw_segments(random, plan);
  draw_cut(random, world, plan);
  const bool weighted = random.one_in(3);
  for (int site = 0; site < world; ++site)
    plan.weights.push_back(weighted ? static_cast<float>(random.between(1, 9)) : 1.0F);
  return plan;
}

WorldPlan draw_losses(std::uint64_t seed) {
  constexpr std::int64_t linger_ns = 30 * second_ns;
  WorldPlan plan = draw_world(seed, false);
  Random random(mix(seed ^ 0x1055e5));
  plan.on_loss = OnLoss::carry_on;
  plan.blocks.clear();
  for (SitePlan& site : plan.sites) {
    site.listens = true;
    site.close_after_ns = linger_ns;
  }
  // Who is lost while sites join ends that for all.
  for (OperationPlan& operation : plan.operations)
    for (std::int64_t& at_ns : operation.submit_ns) at_ns += second_ns;
  if (random.one_in(3)) plan.favourite = random.between(0, plan.world() - 1);
  const int losses = random.between(1, random.one_in(3) ? 3 : 2);
  for (int i = 0; i < losses; ++i) plan.troubles.push_back(draw_loss(random, plan));
  draw_stream_faults(seed, plan);
  return plan;
}

WorldPlan draw_world(std::uint64_t seed, bool faults) {
  Random random(mix(seed + 0x9e3779b97f4a7c15));
  WorldPlan plan;
  plan.seed = seed;
  const int world = random.between(2, random.one_in(4) ? 8 : 5);
  std::vector<std::string> pool(names.begin(), names.end());
  for (int i = 0; i < world; ++i) {
    const auto chosen = static_cast<std::ptrdiff_t>(random.below(pool.size()));
    SitePlan site;
    site.name = pool[static_cast<std::size_t>(chosen)];
    pool.erase(pool.begin() + chosen);
    site.join_ns = random.between<std::int64_t>(0, 2 * second_ns);
    site.close_after_ns = random.one_in(2) ? 0 : random.between<std::int64_t>(0, 2 * second_ns);
    site.up_bits_per_s = pick(random, std::array{50L, 200L, 1000L}) * megabit;
    site.down_bits_per_s = pick(random, std::array{50L, 200L, 1000L}) * megabit;
    site.streams = random.one_in(3) ? random.between(1, 3) : 0;
    plan.sites.push_back(site);
  }
  const auto pairs = static_cast<std::size_t>(world * world);
  for (std::size_t i = 0; i < pairs; ++i)
    plan.latency_ns.push_back(random.between<std::int64_t>(millisecond_ns, longest_latency_ns));
  plan.jitter_ns = random.one_in(2) ? 0 : random.between<std::int64_t>(0, 20 * millisecond_ns);
  plan.loss = random.one_in(2) ? 0 : random.unit() * 0.01;
  // A full window of every peer passes the thinnest line within a fraction of the patience.
  plan.window_bytes = random.one_in(3) ? 64 << 10 : 256 << 10;
  plan.max_segment_bytes = random.one_in(3) ? 8 << 10 : 64 << 10;
  plan.heartbeat_timeout_ns = random.between<std::int64_t>(4, 6) * second_ns;
  plan.timeout_ns = random.between<std::int64_t>(14, 25) * second_ns;
  plan.strangers = random.one_in(3) ? random.between(1, 4) : 0;
  draw_blocks(seed, plan);
  const int operations = random.between(1, most_operations);
  for (int i = 0; i < operations; ++i) plan.operations.push_back(draw_operation(random, world));
  draw_times(random, plan);
  draw_orders(seed, plan);
  draw_hands(seed, plan);
  plan.streams = draw_streams(plan);
  if (!faults) return plan;
  if (random.one_in(5))
    plan.operations[random.below(plan.operations.size())].odd_site =
        static_cast<int>(random.below(static_cast<std::uint64_t>(world)));
  const int troubles = random.one_in(4) ? 2 : 1;
  for (int i = 0; i < troubles; ++i) plan.troubles.push_back(draw_trouble(random, plan));
  draw_stream_faults(seed, plan);
  return plan;
}

}  // namespace isthmus
