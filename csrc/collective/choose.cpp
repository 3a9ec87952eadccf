#include "collective/choose.hpp"

#include <string>

namespace isthmus {
namespace {

// Up to this many bytes sent by a rank, one delay less is worth more than the bytes that `direct`
// saves: half of them take 17 ms at 1 Gbit/s, and a one-way delay between clouds is 10 to 100.
constexpr std::uint64_t gather_limit_bytes = 4 << 20;

Status not_recodable(Algorithm algorithm, const codecs::Codec& codec) {
  return refused("schedule \"" + std::string(name_of(algorithm)) +
                 "\" encodes sums again, which codec \"" + std::string(codec.name) +
                 "\" cannot take; use \"gather\" or \"auto\"");
}

}  // namespace

Algorithm choose(const Choice& choice) {
  if (choice.world == 1) return Algorithm::gather;
  if (!choice.up->recodable || !choice.down->recodable) return Algorithm::gather;
  const auto peers = static_cast<std::uint64_t>(choice.world - 1);
  // Divided, so that no size overflows.
  if (codecs::wire_size(*choice.up, choice.elements) <= gather_limit_bytes / peers) return Algorithm::gather;
  // Between two sites both send the same bytes. A lossless codec then saves half of the adding with
  // `direct`, whose second delay hides behind the bytes; a lossy one saves a rounding with
  // `gather`.
  const bool lossless = choice.up->identity && choice.down->identity;
  return choice.world == 2 && !lossless ? Algorithm::gather : Algorithm::direct;
}

Status check_schedule(Algorithm algorithm, const Choice& choice) {
  const bool encodes_partials = algorithm == Algorithm::ring;
  const bool encodes_totals = encodes_partials || algorithm == Algorithm::direct;
  if (encodes_partials && !choice.up->recodable) return not_recodable(algorithm, *choice.up);
  if (encodes_totals && !choice.down->recodable) return not_recodable(algorithm, *choice.down);
  return {};
}

std::string_view name_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::direct:
      return "direct";
    case Algorithm::gather:
      return "gather";
    case Algorithm::ring:
      return "ring";
    case Algorithm::broadcast:
      return "broadcast";
  }
  return "unknown";  // a number that came from outside
}

}  // namespace isthmus
