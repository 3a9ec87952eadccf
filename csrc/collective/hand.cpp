// hand: the root sends its input to some of the others, and nobody else has any part in it.
//
// One one-way delay; the root sends b bytes an element to each taker. What a newcomer lacks goes
// this way, from the one site that is chosen for it.
#include "collective/schedule.hpp"

namespace isthmus {

Schedule hand(const Shape& shape, int root, const Order& takers) {
  Schedule schedule;
  const Span whole{0, shape.elements()};
  if (whole.count == 0) return schedule;
  for (const int taker : takers) {
    if (taker == root) continue;
    if (shape.rank == root) schedule.sends.push_back({taker, 0, whole, Source::input, -1});
    if (shape.rank == taker) schedule.receives.push_back({root, 0, whole, Role::copy});
  }
  return schedule;
}

}  // namespace isthmus
