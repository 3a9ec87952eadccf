// broadcast: the root sends its input to everybody; each, the root too, takes what that wire
// decodes to.
//
// One one-way delay; the root sends W-1 times b bytes an element, the others nothing.
#include "collective/schedule.hpp"

namespace isthmus {

Schedule broadcast(const Shape& shape, int root) {
  Schedule schedule;
  const Span whole{0, shape.elements()};
  if (whole.count == 0) return schedule;
  if (shape.rank != root) {
    schedule.receives.push_back({root, 0, whole, Role::copy});
    return schedule;
  }
  schedule.sums.push_back({whole, {Sum::own_input}, Sum::Kind::copy});
  for (int step = 1; step < shape.world; ++step) {
    const int peer = (shape.rank + step) % shape.world;
    schedule.sends.push_back({peer, 0, whole, Source::input, -1});
  }
  return schedule;
}

}  // namespace isthmus
