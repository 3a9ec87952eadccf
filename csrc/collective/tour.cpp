// Every step of a ring carries 2 (W-1) chunks, and slices flow on behind each other. Either the
// busiest link or site is busy to the end, and one step more follows; or the last slice of a chunk
// has to go once round twice but for two steps. Two steps may load the same site, where one of them
// goes by way of it.
//
// Both only grow with each step of a walk. So a walk that, with the least that its rest can
// take, is not better than the best tour known need not be finished.
#include "collective/tour.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

namespace isthmus {
namespace {

constexpr int most_sites_for_all = 8;
constexpr int most_passes = 32;
// Another order than that of the ranks must promise so much: measurements are not better than that.
constexpr double worth_it = .95;

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

Order by_rank(int world) {
  Order order(index(world));
  std::iota(order.begin(), order.end(), std::uint16_t{0});
  return order;
}

// Steps from site to site, and what they ask of the network. Whole numbers of steps are counted, so
// that one that is taken back leaves nothing behind.
class Walk {
 public:
  struct Seconds {
    double busiest = 0;  // of a link or a site, with all its bytes
    double around = 0;   // a slice on all steps so far, one after another
  };

  Walk(const Paths& paths, const Load& load, double slice)
      : paths_(paths),
        rounds_(paths.world - 1),
        step_bytes_(rounds_ * (load.up + load.down) / paths.world),
        slice_(std::min(slice, load.up / paths.world)),
        out_(index(paths.world)),
        in_(out_),
        linked_(paths.pair.size()) {}

  Seconds go(Seconds so_far, int from, int to) {
    paths_.over_hops(from, to, [&](int a, int b) {
      const double out = ++out_[index(a)] / paths_.uplink[index(a)];
      const double in = ++in_[index(b)] / paths_.downlink[index(b)];
      const double link = ++linked_[paths_.at(a, b)] / paths_.pair[paths_.at(a, b)];
      so_far.busiest = std::max(so_far.busiest, step_bytes_ * std::max({out, in, link}));
    });
    so_far.around += around(from, to);
    return so_far;
  }

  void take_back(int from, int to) {
    paths_.over_hops(from, to, [&](int a, int b) {
      --out_[index(a)];
      --in_[index(b)];
      --linked_[paths_.at(a, b)];
    });
  }

  // A slice's, from one site to another.
  double around(int from, int to) const {
    double sum = 0;
    paths_.over_hops(from, to, [&](int a, int b) {
      const std::size_t at = paths_.at(a, b);
      sum += paths_.delay[at] + slice_ / std::min({paths_.pair[at], paths_.uplink[index(a)],
                                                   paths_.downlink[index(b)]});
    });
    return sum;
  }

  // Of a whole walk.
  double all(Seconds s) const {
    const double step = s.around / paths_.world;  // in the mean
    return std::max(s.busiest + step, s.busiest / (2 * rounds_) + step * 2 * rounds_);
  }

  double step_bytes() const { return step_bytes_; }

 private:
  const Paths& paths_;
  double rounds_;
  double step_bytes_, slice_;
  std::vector<int> out_, in_, linked_;  // steps
};

// By site, the least that a step from there takes of the way round.
std::vector<double> least_steps(const Paths& paths, const Walk& walk) {
  std::vector<double> least(index(paths.world), std::numeric_limits<double>::infinity());
  for (int from = 0; from < paths.world; ++from)
    for (int to = 0; to < paths.world; ++to)
      if (to != from) least[index(from)] = std::min(least[index(from)], walk.around(from, to));
  return least;
}

// Looks through all tours for one that takes less than `limit` and than all before it.
class Search {
 public:
  Search(const Paths& paths, const Load& load, double slice, double limit)
      : walk_(paths, load, slice),
        least_(least_steps(paths, walk_)),
        tour_(by_rank(paths.world)),
        limit_(limit) {}

  // Empty: there is none.
  Order best() {
    go_on(1, {}, std::accumulate(least_.begin(), least_.end(), 0.0));
    return std::move(best_);
  }

 private:
  // Places before this one are taken. `rest`: the least that the other steps take of the way round.
  void go_on(std::size_t place, Walk::Seconds so_far, double rest) {
    if (!(walk_.all({so_far.busiest, so_far.around + rest}) < limit_)) return;
    const int from = tour_[place - 1];
    if (place == tour_.size()) {
      keep(walk_.all(walk_.go(so_far, from, tour_[0])));
      walk_.take_back(from, tour_[0]);
      return;
    }
    for (std::size_t i = place; i < tour_.size(); ++i) {
      std::swap(tour_[place], tour_[i]);
      const int to = tour_[place];
      go_on(place + 1, walk_.go(so_far, from, to), rest - least_[index(from)]);
      walk_.take_back(from, to);
      std::swap(tour_[place], tour_[i]);
    }
  }

  void keep(double seconds) {
    if (!(seconds < limit_)) return;
    limit_ = seconds;
    best_ = tour_;
  }

  Walk walk_;
  std::vector<double> least_;
  Order tour_;
  Order best_;
  double limit_;
};

// From each site to the one that costs least now.
Order greedy(const Paths& paths, const Load& load, double slice) {
  Walk walk(paths, load, slice);
  Order tour = by_rank(paths.world);
  Walk::Seconds so_far;
  for (std::size_t place = 1; place < tour.size(); ++place) {
    const int from = tour[place - 1];
    const auto cost = [&](int to) {
      const double seconds = walk.all(walk.go(so_far, from, to));
      walk.take_back(from, to);
      return seconds;
    };
    const auto rest = std::span(tour).subspan(place);
    std::iter_swap(rest.begin(), std::ranges::min_element(rest, {}, cost));
    so_far = walk.go(so_far, from, tour[place]);
  }
  return tour;
}

// Stretches are turned round, and sites moved to other places, as long as that helps.
Order improved(Order tour, const Paths& paths, const Load& load, double slice) {
  double least = ring_seconds(paths, load, slice, tour);
  const auto helps = [&](const Order& other) {
    const double seconds = ring_seconds(paths, load, slice, other);
    if (!(seconds < least)) return false;
    least = seconds;
    tour = other;
    return true;
  };
  bool better = true;
  for (int pass = 0; pass < most_passes && better; ++pass) {
    better = false;
    for (std::ptrdiff_t i = 1; i < std::ssize(tour); ++i)
      for (std::ptrdiff_t j = i + 1; j < std::ssize(tour); ++j) {
        Order turned = tour, later = tour, earlier = tour;
        std::reverse(turned.begin() + i, turned.begin() + j + 1);
        std::rotate(later.begin() + i, later.begin() + i + 1, later.begin() + j + 1);
        std::rotate(earlier.begin() + i, earlier.begin() + j, earlier.begin() + j + 1);
        if (helps(turned) || helps(later) || helps(earlier)) better = true;
      }
  }
  return tour;
}

// What no tour is faster than: a step from each site and one to each, each at its least.
double bound(const Paths& paths, const Load& load, double slice) {
  const Walk walk(paths, load, slice);
  const std::vector<double> least = least_steps(paths, walk);
  const double thinnest =
      std::min(std::ranges::min(paths.uplink), std::ranges::min(paths.downlink));
  return walk.all({.busiest = walk.step_bytes() / thinnest,
                   .around = std::accumulate(least.begin(), least.end(), 0.0)});
}

}  // namespace

double ring_seconds(const Paths& paths, const Load& load, double slice, const Order& order) {
  if (paths.world < 2) return 0;
  const Order tour = order.empty() ? by_rank(paths.world) : order;
  Walk walk(paths, load, slice);
  Walk::Seconds seconds;
  for (std::size_t i = 0; i < tour.size(); ++i)
    seconds = walk.go(seconds, tour[i], tour[(i + 1) % tour.size()]);
  return walk.all(seconds);
}

Order best_order(const Paths& paths, const Load& load, double slice) {
  if (paths.world < 3) return {};
  const double limit = worth_it * ring_seconds(paths, load, slice, {});
  if (!(bound(paths, load, slice) < limit)) return {};
  if (paths.world <= most_sites_for_all) return Search(paths, load, slice, limit).best();
  Order best;
  double least = limit;
  for (const Order& start : {by_rank(paths.world), greedy(paths, load, slice)}) {
    Order tour = improved(start, paths, load, slice);
    const double seconds = ring_seconds(paths, load, slice, tour);
    if (!(seconds < least)) continue;
    least = seconds;
    best = std::move(tour);
  }
  return best;
}

}  // namespace isthmus
