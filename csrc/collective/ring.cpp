// ring: each rank talks to its two neighbours only. Reduce-scatter, then all-gather, over W chunks
// (the shares). Ranks have places, which are their numbers unless an order says otherwise.
//
// Chunk c sets out from place c as the input of who stands there. In round t place p sends on chunk
// p-t and receives chunk p-t-1, to which it adds its own input. After W-1 rounds place p holds the
// total of chunk p+1, which W-1 more rounds carry round unchanged. So round t of each half needs
// what round t-1 brought: 2(W-1) one-way delays, 2(W-1)/W of b bytes an element, and a rounding at
// every place that a chunk passes.
#include <algorithm>

#include "collective/schedule.hpp"

namespace isthmus {
namespace {

class Ring {
 public:
  explicit Ring(const Shape& shape)
      : shape_(shape),
        place_(place_of(shape)),
        next_(at(place_ + 1)),
        previous_(at(place_ + shape.world - 1)) {}

  Schedule make() {
    const int rounds = shape_.world - 1;
    for (int round = 0; round < rounds; ++round) reduce(round, round + 1 == rounds);
    for (int round = 0; round < rounds; ++round) collect(round);
    return std::move(schedule_);
  }

 private:
  static int place_of(const Shape& shape) {
    if (shape.order.empty()) return shape.rank;
    return static_cast<int>(std::ranges::find(shape.order, shape.rank) - shape.order.begin());
  }
  // Who stands at a place.
  int at(int place) const {
    const int turned = place % shape_.world;
    return shape_.order.empty() ? turned : shape_.order[static_cast<std::size_t>(turned)];
  }
  Span chunk(int index) const {
    const int world = shape_.world;
    return share(shape_, (index % world + world) % world);
  }

  void send(std::uint32_t transfer, Span span, Source source, int from) {
    if (span.count > 0) schedule_.sends.push_back({next_, transfer, span, source, from});
  }

  void reduce(int round, bool last) {
    const auto transfer = static_cast<std::uint32_t>(round);
    send(transfer, chunk(place_ - round), round == 0 ? Source::input : Source::sum, passed_on_);
    const Span coming = chunk(place_ - round - 1);
    passed_on_ = static_cast<int>(schedule_.sums.size());
    if (coming.count == 0) return;
    const int receive = static_cast<int>(schedule_.receives.size());
    const Role role = round == 0 ? Role::term : Role::partial;
    schedule_.receives.push_back({previous_, transfer, coming, role});
    schedule_.sums.push_back(
        {coming, {receive, Sum::own_input}, last ? Sum::Kind::total : Sum::Kind::partial});
  }

  void collect(int round) {
    const auto transfer = static_cast<std::uint32_t>(shape_.world - 1 + round);
    send(transfer, chunk(place_ + 1 - round), round == 0 ? Source::sum : Source::received,
         passed_on_);
    const Span coming = chunk(place_ - round);
    passed_on_ = static_cast<int>(schedule_.receives.size());
    if (coming.count > 0) {
      schedule_.receives.push_back({previous_, transfer, coming, Role::result});
    }
  }

  Shape shape_;
  int place_;
  int next_;
  int previous_;
  int passed_on_ = -1;  // what the coming round sends: nothing yet, a sum, or a receive
  Schedule schedule_;
};

}  // namespace

Schedule ring_all_reduce(const Shape& shape) {
  if (shape.world == 1) return gather_all_reduce(shape);
  return Ring(shape).make();
}

}  // namespace isthmus
