// With share s[j] of the elements, of `up` bytes on their way to the owners and `down` on the way
// back, site i sends (1 - s[i]) up + (W-1) s[i] down, and receives the same with up and down
// exchanged; the link from i to j carries s[j] up + s[i] down. All of it takes at least T seconds
// if each of these is at most T times its rate. Since the shares add up to 1, x = s / T turns every
// such line into one without a constant: the largest sum of x that fits is the least T.
#include "collective/paths.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "collective/packing.hpp"

namespace isthmus {
namespace {

// An even split is kept unless another one saves so much: measurements are not better than that.
constexpr double worth_it = .95;

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

std::vector<double> fractions(const Shares& shares, int world) {
  std::vector<double> s(index(world), 1.0 / world);
  for (std::size_t i = 0; i < shares.size(); ++i) s[i] = shares[i] / double{whole_share};
  return s;
}

// Largest remainders, the first of equals: whole numbers that add up to whole_share.
Shares rounded(const std::vector<double>& x) {
  const double sum = std::accumulate(x.begin(), x.end(), 0.0);
  Shares shares;
  std::vector<double> rest;
  std::uint32_t dealt = 0;
  for (const double value : x) {
    const double exact = value / sum * whole_share;
    shares.push_back(static_cast<std::uint32_t>(exact));
    rest.push_back(exact - shares.back());
    dealt += shares.back();
  }
  for (; dealt < whole_share; ++dealt) {
    const auto most = std::ranges::max_element(rest) - rest.begin();
    ++shares[static_cast<std::size_t>(most)];
    rest[static_cast<std::size_t>(most)] = -1;
  }
  return shares;
}

struct Traffic {  // in bytes
  double sent, received;
};

Traffic traffic(const Load& load, double share, int world) {
  const double others = world - 1;
  return {(1 - share) * load.up + others * share * load.down,
          (1 - share) * load.down + others * share * load.up};
}

double farthest(const Paths& paths, int from) {
  double most = 0;
  for (int to = 0; to < paths.world; ++to) most = std::max(most, paths.wait(from, to));
  return most;
}

double farthest_into(const Paths& paths, int to) {
  double most = 0;
  for (int from = 0; from < paths.world; ++from) most = std::max(most, paths.wait(from, to));
  return most;
}

// The least seconds that all bytes take with these shares, delays aside.
double bytes_seconds(const Paths& paths, const Load& load, const std::vector<double>& s) {
  double most = 0;
  for (int i = 0; i < paths.world; ++i) {
    const Traffic bytes = traffic(load, s[index(i)], paths.world);
    most = std::max(
        {most, bytes.sent / paths.uplink[index(i)], bytes.received / paths.downlink[index(i)]});
    for (int j = 0; j < paths.world; ++j)
      if (j != i)
        most = std::max(most, (s[index(j)] * load.up + s[index(i)] * load.down) / paths.rate(i, j));
  }
  return most;
}

// What x must fit into.
struct Limits {
  std::vector<double> rows;  // one behind another
  std::vector<double> limits;
  std::size_t columns;

  std::span<double> add(double limit) {
    rows.resize(rows.size() + columns);
    limits.push_back(limit);
    return std::span(rows).last(columns);
  }
};

Limits limits_of(const Paths& paths, const Load& load) {
  // Only ratios matter; numbers near 1 keep the rounding small.
  const double fastest = std::ranges::max(paths.uplink);
  const double most = std::max(load.up, load.down);
  const double up = load.up / most, down = load.down / most;
  const double others = paths.world - 1;
  Limits limits{.rows = {}, .limits = {}, .columns = index(paths.world)};
  for (int i = 0; i < paths.world; ++i) {
    const std::span<double> sent = limits.add(paths.uplink[index(i)] / fastest);
    std::ranges::fill(sent, up);
    sent[index(i)] = others * down;
    const std::span<double> received = limits.add(paths.downlink[index(i)] / fastest);
    std::ranges::fill(received, down);
    received[index(i)] = others * up;
    for (int j = 0; j < paths.world; ++j) {
      if (j == i) continue;
      const std::span<double> carried = limits.add(paths.rate(i, j) / fastest);
      carried[index(j)] = up;
      carried[index(i)] = down;
    }
  }
  return limits;
}

// The most that fits where no x is above `cap`.
std::vector<double> most_below(Limits limits, double cap) {
  for (std::size_t i = 0; i < limits.columns; ++i) limits.add(cap)[i] = 1;
  return most_that_fits(std::move(limits.rows), std::move(limits.limits), limits.columns);
}

// Of all x whose sum is the largest, but for a hundredth, one whose largest is small: many owners
// with a little each rather than one that has all.
std::vector<double> levelled(const Limits& limits) {
  constexpr double enough = .99;
  constexpr int halvings = 10;
  std::vector<double> x = most_that_fits(limits.rows, limits.limits, limits.columns);
  const double most = std::accumulate(x.begin(), x.end(), 0.0);
  double low = most / static_cast<double>(limits.columns), high = std::ranges::max(x);
  for (int i = 0; i < halvings; ++i) {
    const double cap = (low + high) / 2;
    std::vector<double> capped = most_below(limits, cap);
    const bool fits = std::accumulate(capped.begin(), capped.end(), 0.0) >= enough * most;
    (fits ? high : low) = cap;
    if (fits) x = std::move(capped);
  }
  return x;
}

}  // namespace

bool sound(const Paths& paths) {
  const std::size_t world = index(std::max(paths.world, 0));
  const auto above_zero = [](double value) { return value > 0 && std::isfinite(value); };
  const auto not_below = [](double value) { return value >= 0 && std::isfinite(value); };
  if (world == 0 || paths.uplink.size() != world || paths.downlink.size() != world ||
      paths.pair.size() != world * world || paths.delay.size() != world * world)
    return false;
  for (std::size_t i = 0; i < world * world; ++i)
    if (i / world != i % world && (!above_zero(paths.pair[i]) || !not_below(paths.delay[i])))
      return false;
  return std::ranges::all_of(paths.uplink, above_zero) &&
         std::ranges::all_of(paths.downlink, above_zero);
}

Shares best_shares(const Paths& paths, const Load& load) {
  if (paths.world < 2) return {};
  const Shares best = rounded(levelled(limits_of(paths, load)));
  const double even = bytes_seconds(paths, load, fractions({}, paths.world));
  const double ours = bytes_seconds(paths, load, fractions(best, paths.world));
  return ours < worth_it * even ? best : Shares{};
}

// The inputs leave first. Either the wire is busy to the end, and one delay follows; or the last
// slice of the inputs has to go to its owner and come back as a sum.
double direct_seconds(const Paths& paths, const Load& load, const Shares& shares, double slice) {
  const std::vector<double> s = fractions(shares, paths.world);
  double most = 0;
  for (int i = 0; i < paths.world; ++i) {
    const Traffic bytes = traffic(load, s[index(i)], paths.world);
    most = std::max({most, bytes.sent / paths.uplink[index(i)] + farthest(paths, i),
                     bytes.received / paths.downlink[index(i)] + farthest_into(paths, i)});
    const double inputs = (1 - s[index(i)]) * load.up / paths.uplink[index(i)];
    for (int j = 0; j < paths.world; ++j) {
      if (j == i) continue;
      const double rate = paths.rate(i, j);
      const double up = s[index(j)] * load.up, down = s[index(i)] * load.down;
      most = std::max(most, (up + down) / rate + paths.wait(i, j));
      if (s[index(j)] == 0) continue;
      const double there = std::max(inputs, up / rate) + paths.wait(i, j);
      const double back = std::min(slice, s[index(j)] * load.down) / paths.uplink[index(j)];
      most = std::max(most, there + back + farthest(paths, j));
    }
  }
  return most;
}

double gather_seconds(const Paths& paths, const Load& load) {
  double most = 0;
  for (int i = 0; i < paths.world; ++i) {
    const double bytes = (paths.world - 1) * load.up;
    most = std::max({most, bytes / paths.uplink[index(i)] + farthest(paths, i),
                     bytes / paths.downlink[index(i)] + farthest_into(paths, i)});
    for (int j = 0; j < paths.world; ++j)
      if (j != i) most = std::max(most, load.up / paths.rate(i, j) + paths.wait(i, j));
  }
  return most;
}

// In the order of the ranks. Every link carries 2 (W-1) chunks, and slices flow on behind each
// other: the slowest link's bytes, and once round twice but for two hops.
double ring_seconds(const Paths& paths, const Load& load, double slice) {
  const int world = paths.world;
  if (world < 2) return 0;
  double slowest = 0, around = 0;
  for (int i = 0; i < world; ++i) {
    const int next = (i + 1) % world;
    const double rate =
        std::min({paths.rate(i, next), paths.uplink[index(i)], paths.downlink[index(next)]});
    slowest = std::max(slowest, (world - 1) * (load.up + load.down) / world / rate);
    around += paths.wait(i, next) + std::min(slice, load.up / world) / rate;
  }
  return slowest + around * (2 * world - 2) / world;
}

}  // namespace isthmus
