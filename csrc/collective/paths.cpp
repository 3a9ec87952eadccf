// With share s[j] of the elements, of `up` bytes on their way to the owners and `down` on the way
// back, site i sends (1 - s[i]) up + (W-1) s[i] down, and receives the same with up and down
// exchanged; the link from i to j carries s[j] up + s[i] down. A third site by way of which these
// go receives and sends them too. All of it takes at least T seconds if each of these is at most T
// times its rate. Since the shares add up to 1, x = s / T turns every such line into one without a
// constant: the largest sum of x that fits is the least T.
#include "collective/paths.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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

// What passes each site and each link, in bytes.
class Traffic {
 public:
  // `bytes(from, to)`: what a site has for another.
  template <class Bytes>
  Traffic(const Paths& paths, Bytes bytes)
      : sent_(index(paths.world)), received_(sent_), linked_(paths.pair.size()) {
    for (int from = 0; from < paths.world; ++from)
      for (int to = 0; to < paths.world; ++to) {
        if (to == from) continue;
        const double more = bytes(from, to);
        paths.over_hops(from, to, [&](int a, int b) {
          sent_[index(a)] += more;
          received_[index(b)] += more;
          linked_[at(a, b)] += more;
        });
      }
  }

  double sent(int site) const { return sent_[index(site)]; }
  double received(int site) const { return received_[index(site)]; }
  double linked(int from, int to) const { return linked_[at(from, to)]; }

 private:
  std::size_t at(int from, int to) const { return index(from) * sent_.size() + index(to); }

  std::vector<double> sent_, received_, linked_;
};

Traffic direct_traffic(const Paths& paths, const Load& load, const std::vector<double>& s) {
  return {paths, [&](int i, int j) { return s[index(j)] * load.up + s[index(i)] * load.down; }};
}

double farthest(const Paths& paths, int from) {
  double most = 0;
  for (int to = 0; to < paths.world; ++to)
    if (to != from) most = std::max(most, paths.wait(from, to));
  return most;
}

double farthest_into(const Paths& paths, int to) {
  double most = 0;
  for (int from = 0; from < paths.world; ++from)
    if (from != to) most = std::max(most, paths.wait(from, to));
  return most;
}

// The least seconds that all bytes take, delays aside.
double bytes_seconds(const Paths& paths, const Traffic& traffic) {
  double most = 0;
  for (int i = 0; i < paths.world; ++i) {
    most = std::max({most, traffic.sent(i) / paths.uplink[index(i)],
                     traffic.received(i) / paths.downlink[index(i)]});
    for (int j = 0; j < paths.world; ++j)
      if (j != i) most = std::max(most, traffic.linked(i, j) / paths.pair[paths.at(i, j)]);
  }
  return most;
}

// Until the last byte is where it is for: a wire that is busy to the end, and one delay.
double wires_seconds(const Paths& paths, const Traffic& traffic) {
  double most = 0;
  for (int i = 0; i < paths.world; ++i) {
    most = std::max({most, traffic.sent(i) / paths.uplink[index(i)] + farthest(paths, i),
                     traffic.received(i) / paths.downlink[index(i)] + farthest_into(paths, i)});
    for (int j = 0; j < paths.world; ++j) {
      if (j == i) continue;
      double slowest = 0;
      paths.over_hops(i, j, [&](int a, int b) {
        slowest = std::max(slowest, traffic.linked(a, b) / paths.pair[paths.at(a, b)]);
      });
      most = std::max(most, slowest + paths.wait(i, j));
    }
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
  std::span<double> row(std::size_t number) {
    return std::span(rows).subspan(number * columns, columns);
  }
};

// A row for each uplink, each downlink and each link, in which every pair writes what it has for
// the other by each owner's x.
Limits limits_of(const Paths& paths, const Load& load) {
  // Only ratios matter; numbers near 1 keep the rounding small.
  const double fastest = std::ranges::max(paths.uplink);
  const double most = std::max(load.up, load.down);
  const double up = load.up / most, down = load.down / most;
  const std::size_t world = index(paths.world);
  Limits limits{.rows = {}, .limits = {}, .columns = world};
  for (std::size_t i = 0; i < world; ++i) limits.add(paths.uplink[i] / fastest);
  for (std::size_t i = 0; i < world; ++i) limits.add(paths.downlink[i] / fastest);
  for (std::size_t i = 0; i < world * world; ++i)
    if (i / world == i % world)
      limits.add(1);  // a site to itself: nothing, and so no limit
    else
      limits.add(paths.pair[i] / fastest);
  for (int i = 0; i < paths.world; ++i)
    for (int j = 0; j < paths.world; ++j) {
      if (j == i) continue;
      paths.over_hops(i, j, [&](int a, int b) {
        for (const std::size_t row : {index(a), world + index(b), 2 * world + paths.at(a, b)}) {
          limits.row(row)[index(j)] += up;
          limits.row(row)[index(i)] += down;
        }
      });
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

double Paths::rate(int from, int to) const {
  double least = std::numeric_limits<double>::infinity();
  over_hops(from, to, [&](int a, int b) { least = std::min(least, pair[at(a, b)]); });
  return least;
}

double Paths::wait(int from, int to) const {
  double sum = 0;
  over_hops(from, to, [&](int a, int b) { sum += delay[at(a, b)]; });
  return sum;
}

bool sound(const Paths& paths) {
  const int world = paths.world;
  const std::size_t sites = index(std::max(world, 0)), pairs = sites * sites;
  const auto above_zero = [](double value) { return value > 0 && std::isfinite(value); };
  const auto not_below = [](double value) { return value >= 0 && std::isfinite(value); };
  if (world <= 0 || paths.uplink.size() != sites || paths.downlink.size() != sites ||
      paths.pair.size() != pairs || paths.delay.size() != pairs ||
      (!paths.relays.empty() && paths.relays.size() != pairs))
    return false;
  for (int from = 0; from < world; ++from)
    for (int to = 0; to < world; ++to) {
      if (to == from) continue;
      const int by = paths.by_way_of(from, to);
      if (!above_zero(paths.pair[paths.at(from, to)]) ||
          !not_below(paths.delay[paths.at(from, to)]) || by < Paths::nobody || by >= world ||
          by == from || by == to)
        return false;
    }
  return std::ranges::all_of(paths.uplink, above_zero) &&
         std::ranges::all_of(paths.downlink, above_zero);
}

Shares best_shares(const Paths& paths, const Load& load) {
  if (paths.world < 2) return {};
  const Shares best = rounded(levelled(limits_of(paths, load)));
  const auto seconds = [&](const Shares& shares) {
    return bytes_seconds(paths, direct_traffic(paths, load, fractions(shares, paths.world)));
  };
  return seconds(best) < worth_it * seconds({}) ? best : Shares{};
}

// The inputs leave first. Either the wire is busy to the end, and one delay follows; or the last
// slice of the inputs has to go to its owner and come back as a sum.
double direct_seconds(const Paths& paths, const Load& load, const Shares& shares, double slice) {
  const std::vector<double> s = fractions(shares, paths.world);
  const Traffic inputs(paths, [&](int, int j) { return s[index(j)] * load.up; });
  double most = wires_seconds(paths, direct_traffic(paths, load, s));
  for (int i = 0; i < paths.world; ++i)
    for (int j = 0; j < paths.world; ++j) {
      if (j == i || s[index(j)] == 0) continue;
      double leaves = 0;
      paths.over_hops(i, j, [&](int a, int b) {
        leaves = std::max({leaves, inputs.sent(a) / paths.uplink[index(a)],
                           inputs.linked(a, b) / paths.pair[paths.at(a, b)]});
      });
      const double back = std::min(slice, s[index(j)] * load.down) / paths.uplink[index(j)];
      most = std::max(most, leaves + paths.wait(i, j) + back + farthest(paths, j));
    }
  return most;
}

double gather_seconds(const Paths& paths, const Load& load) {
  return wires_seconds(paths, Traffic(paths, [&](int, int) { return load.up; }));
}

}  // namespace isthmus
