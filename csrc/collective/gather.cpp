// gather: everybody sends its whole input to everybody, and each sums all of them in rank order.
//
// One one-way delay and one rounding; W-1 times b bytes an element. Every rank makes the same sums
// from the same wires, its own included, so all end with the same bits.
#include "collective/schedule.hpp"

namespace isthmus {

namespace {

// Everybody's input to everybody.
Schedule exchange(const Shape& shape, Role role) {
  Schedule schedule;
  const Span whole{0, shape.elements()};
  if (whole.count == 0) return schedule;
  for (int peer = 0; peer < shape.world; ++peer) {
    if (peer != shape.rank) schedule.receives.push_back({peer, 0, whole, role});
  }
  for (int step = 1; step < shape.world; ++step) {
    const int peer = (shape.rank + step) % shape.world;
    schedule.sends.push_back({peer, 0, whole, Source::input, -1});
  }
  return schedule;
}

}  // namespace

Schedule gather_all_reduce(const Shape& shape) {
  Schedule schedule = exchange(shape, Role::term);
  const Span whole{0, shape.elements()};
  if (whole.count == 0) return schedule;
  Sum sum{whole, {}, Sum::Kind::local};
  for (int peer = 0; peer < shape.world; ++peer) {
    const int received = peer < shape.rank ? peer : peer - 1;
    sum.terms.push_back(peer == shape.rank ? Sum::own_input : received);
  }
  schedule.sums.push_back(std::move(sum));
  return schedule;
}

Schedule gather_terms(const Shape& shape) {
  return exchange(shape, Role::copy);
}

}  // namespace isthmus
