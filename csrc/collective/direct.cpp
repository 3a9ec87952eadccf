// direct: every rank sends share j to its owner j; the owner sums in rank order, encodes once, and
// sends to all.
//
// Two one-way delays and two roundings whatever the world's size. A rank sends its whole input but
// its own share, and its total W-1 times: (W-1)/W of (b_up + b_down) bytes an element.
#include "collective/schedule.hpp"

namespace isthmus {
namespace {

constexpr std::uint32_t input_transfer = 0;
constexpr std::uint32_t total_transfer = 1;

void add_own_share(const Shape& shape, Span own, Schedule& schedule) {
  if (own.count == 0) return;
  Sum sum{own, {}, shape.world == 1 ? Sum::Kind::local : Sum::Kind::total};
  for (int peer = 0; peer < shape.world; ++peer) {
    if (peer == shape.rank) {
      sum.terms.push_back(Sum::own_input);
      continue;
    }
    sum.terms.push_back(static_cast<int>(schedule.receives.size()));
    schedule.receives.push_back({peer, input_transfer, own, Role::term});
  }
  schedule.sums.push_back(std::move(sum));
}

}  // namespace

Schedule direct_all_reduce(const Shape& shape) {
  Schedule schedule;
  const Span own = share(shape, shape.rank);
  add_own_share(shape, own, schedule);
  // From the next rank on, so that no owner is everybody's first.
  for (int step = 1; step < shape.world; ++step) {
    const int peer = (shape.rank + step) % shape.world;
    const Span theirs = share(shape, peer);
    if (theirs.count == 0) continue;
    schedule.sends.push_back({peer, input_transfer, theirs, Source::input, -1});
    schedule.receives.push_back({peer, total_transfer, theirs, Role::result});
  }
  for (int step = 1; step < shape.world && own.count > 0; ++step) {
    const int peer = (shape.rank + step) % shape.world;
    schedule.sends.push_back({peer, total_transfer, own, Source::sum, 0});
  }
  return schedule;
}

}  // namespace isthmus
