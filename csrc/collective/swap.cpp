// swap: every rank exchanges its input with one other; in as many rounds as it takes, each with
// each.
//
// The circle of a round-robin tournament: ranks stand round a circle but for the last, in round r
// those whose numbers add up to r are partners, and whoever would meet itself meets the last. With
// an odd number of ranks the last is nobody. One one-way delay; b bytes an element.
#include "collective/schedule.hpp"

namespace isthmus {

int swap_rounds(int world) {
  return world + world % 2 - 1;
}

int swap_partner(int rank, int world, int round) {
  const int circle = swap_rounds(world);
  if (rank ==
      circle) {  // the last: who would meet itself has 2 i = round, counted round the circle
    return round % 2 == 0 ? round / 2 : (round + circle) / 2;
  }
  const int partner = (round - rank + circle) % circle;
  if (partner != rank) return partner;
  return circle < world ? circle : rank;
}

Schedule swap(const Shape& shape, int round) {
  Schedule schedule;
  const Span whole{0, shape.elements()};
  if (whole.count == 0) return schedule;
  const int partner = swap_partner(shape.rank, shape.world, round);
  if (partner == shape.rank) {
    schedule.sums.push_back({whole, {Sum::own_input}, Sum::Kind::copy});
    return schedule;
  }
  schedule.receives.push_back({partner, 0, whole, Role::copy});
  schedule.sends.push_back({partner, 0, whole, Source::input, -1});
  return schedule;
}

}  // namespace isthmus
