#include "collective/choose.hpp"

#include <algorithm>
#include <string>

namespace isthmus {
namespace {

// Up to this many bytes sent by a rank, one delay less is worth more than the bytes that `direct`
// saves: half of them take 17 ms at 1 Gbit/s, and a one-way delay between clouds is 10 to 100.
constexpr std::uint64_t gather_limit_bytes = 4 << 20;

using Way = const codecs::Codec* Segment::*;

// The codec of the first segment that cannot be encoded again on this way, or none.
const codecs::Codec* not_recodable(const Format& format, Way way) {
  for (const Segment& segment : format.segments()) {
    if (!(segment.*way)->recodable) return segment.*way;
  }
  return nullptr;
}

bool lossless(const Format& format) {
  return std::ranges::all_of(format.segments(), [](const Segment& segment) {
    return segment.up->identity && segment.down->identity;
  });
}

}  // namespace

// `gather` sends every peer all bytes up; `direct` sends each peer its share up and the own share
// down: (W-1) up against (W-1)/W (up + down).
Algorithm choose(int world, const Format& format) {
  if (world == 1 || not_recodable(format, &Segment::down) != nullptr) return Algorithm::gather;
  const std::uint64_t up = format.input_bytes();
  const auto sites = static_cast<std::uint64_t>(world);
  if (up <= gather_limit_bytes / (sites - 1)) return Algorithm::gather;
  // Between two sites both send the same bytes. A lossless codec then saves half of the adding with
  // `direct`, whose second delay hides behind the bytes; a lossy one saves a rounding with
  // `gather`.
  if (world == 2 && lossless(format)) return Algorithm::direct;
  return up <= (up + format.down_bytes()) / sites ? Algorithm::gather : Algorithm::direct;
}

Status check_schedule(Algorithm algorithm, const Format& format) {
  const bool encodes_partials = algorithm == Algorithm::ring;
  const bool encodes_totals = encodes_partials || algorithm == Algorithm::direct;
  const codecs::Codec* odd = encodes_partials ? not_recodable(format, &Segment::up) : nullptr;
  if (odd == nullptr && encodes_totals) odd = not_recodable(format, &Segment::down);
  if (odd == nullptr) return {};
  return refused("schedule \"" + std::string(name_of(algorithm)) +
                 "\" encodes sums again, which codec \"" + std::string(odd->name) +
                 "\" cannot take; use \"gather\" or \"auto\"");
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
