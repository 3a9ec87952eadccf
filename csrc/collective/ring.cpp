// ring: each rank talks to its two neighbours only. Reduce-scatter, then all-gather, over W chunks
// (the shares).
//
// Chunk c sets out from rank c as that rank's input. In round t rank r sends on chunk r-t and
// receives chunk r-t-1, to which it adds its own input. After W-1 rounds rank r holds the total of
// chunk r+1, which W-1 more rounds carry round unchanged. So round t of each half needs what round
// t-1 brought: 2(W-1) one-way delays, 2(W-1)/W of b bytes an element, and a rounding at every rank
// that a chunk passes.
#include "collective/schedule.hpp"

namespace isthmus {
namespace {

class Ring {
 public:
  explicit Ring(const Shape& shape)
      : shape_(shape),
        next_((shape.rank + 1) % shape.world),
        previous_((shape.rank + shape.world - 1) % shape.world) {}

  Schedule make() {
    const int rounds = shape_.world - 1;
    for (int round = 0; round < rounds; ++round) reduce(round, round + 1 == rounds);
    for (int round = 0; round < rounds; ++round) collect(round);
    return std::move(schedule_);
  }

 private:
  Span chunk(int index) const {
    const int world = shape_.world;
    return share(shape_, (index % world + world) % world);
  }

  void send(std::uint32_t transfer, Span span, Source source, int from) {
    if (span.count > 0) schedule_.sends.push_back({next_, transfer, span, source, from});
  }

  void reduce(int round, bool last) {
    const auto transfer = static_cast<std::uint32_t>(round);
    send(transfer, chunk(shape_.rank - round), round == 0 ? Source::input : Source::sum,
         passed_on_);
    const Span coming = chunk(shape_.rank - round - 1);
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
    send(transfer, chunk(shape_.rank + 1 - round), round == 0 ? Source::sum : Source::received,
         passed_on_);
    const Span coming = chunk(shape_.rank - round);
    passed_on_ = static_cast<int>(schedule_.receives.size());
    if (coming.count > 0) {
      schedule_.receives.push_back({previous_, transfer, coming, Role::result});
    }
  }

  Shape shape_;
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
