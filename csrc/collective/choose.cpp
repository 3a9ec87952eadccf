#include "collective/choose.hpp"

#include <algorithm>
#include <array>

#include "collective/tour.hpp"

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

// Another schedule than the usual one, or other shares, must promise so much: measurements are not
// better than that.
constexpr double worth_it = .95;
// Of bytes that are elements, within a machine: what is on its way of all slices then stays in a
// core's cache, and sums begin sooner. Encoded ones are small anyway. Over a WAN they cost time and
// CPU (docs/decisions/0010).
constexpr std::uint32_t near_slice_elements = 32 << 10;
static_assert(near_slice_elements % codecs::max_granule == 0);
// A slice's stay on the slowest uplink. What waits for a slice waits so long once or twice.
constexpr double slice_seconds = .004;

bool lossless(const Format& format) {
  return std::ranges::all_of(format.segments(), [](const Segment& segment) {
    return segment.up->identity && segment.down->identity;
  });
}

// `gather` sends every peer all bytes up; `direct` sends each peer its share up and the own share
// down: (W-1) up against (W-1)/W (up + down).
Algorithm usual(int world, const Format& format) {
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

Load load_of(const Format& format) {
  return {static_cast<double>(format.input_bytes()), static_cast<double>(format.down_bytes())};
}

std::uint32_t slice_for(const Format& format, const Paths& paths) {
  const double slowest = std::ranges::min(paths.uplink);
  const double bytes_an_element =
      static_cast<double>(format.input_bytes()) / static_cast<double>(format.elements());
  std::uint32_t least = least_slice_elements;
  for (const Stretch& stretch : format.stretches()) least = std::max(least, stretch.granule);
  std::uint32_t elements = default_slice_elements;
  while (elements > least && elements * bytes_an_element > slice_seconds * slowest) elements /= 2;
  return elements;
}

double slice_bytes(const Choice& choice, const Format& format) {
  return choice.slice_elements * static_cast<double>(format.down_bytes()) /
         static_cast<double>(format.elements());
}

double seconds_of(const Choice& choice, const Format& format, const Paths& paths) {
  const Load load = load_of(format);
  const double slice = slice_bytes(choice, format);
  switch (choice.algorithm) {
    case Algorithm::direct:
      return direct_seconds(paths, load, choice.shares, slice);
    case Algorithm::ring:
      return ring_seconds(paths, load, slice, choice.order);
    case Algorithm::gather:
    case Algorithm::broadcast:
    case Algorithm::swap:
    case Algorithm::hand:
      return gather_seconds(paths, load);
  }
  return 0;
}

}  // namespace

Choice choose_for(Algorithm algorithm, int world, const Format& format, const Paths* paths,
                  Reach reach) {
  Choice choice{.algorithm = algorithm};
  if (reach == Reach::one_machine && lossless(format)) choice.slice_elements = near_slice_elements;
  if (paths == nullptr || world < 2 || format.elements() == 0) return choice;
  choice.slice_elements = slice_for(format, *paths);
  if (algorithm == Algorithm::direct) choice.shares = best_shares(*paths, load_of(format));
  if (algorithm == Algorithm::ring)
    choice.order = best_order(*paths, load_of(format), slice_bytes(choice, format));
  choice.seconds = seconds_of(choice, format, *paths);
  return choice;
}

Choice choose(int world, const Format& format, const Paths* paths, Reach reach) {
  Choice best = choose_for(usual(world, format), world, format, paths, reach);
  if (!best.seconds) return best;
  for (const Algorithm other : {Algorithm::gather, Algorithm::direct, Algorithm::ring}) {
    // A lossy codec rounds at every hop of a ring, though it may be allowed to.
    const bool allowed =
        check_schedule(other, format).ok() && (other != Algorithm::ring || lossless(format));
    if (!allowed || other == best.algorithm) continue;
    Choice choice = choose_for(other, world, format, paths, reach);
    if (*choice.seconds < worth_it * *best.seconds) best = std::move(choice);
  }
  return best;
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
    case Algorithm::swap:
      return "swap";
    case Algorithm::hand:
      return "hand";
  }
  return "unknown";  // a number that came from outside
}

std::string cut_text(std::uint32_t slice_elements, const Shares& shares, const Order& order) {
  std::string text = "slices of " + std::to_string(slice_elements) + " elements and ";
  if (shares.empty()) {
    text += "even shares";
  } else {
    text += "shares of";
    for (const std::uint32_t share : shares) text += " " + std::to_string(share);
    text += " in " + std::to_string(whole_share);
  }
  if (order.empty()) return text;
  text += ", in the order";
  for (const int rank : order) text += " " + std::to_string(rank);
  return text;
}

}  // namespace isthmus
