// Request and Announcement: what a caller asks for, and what the sites tell each other about it.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/status.hpp"
#include "collective/choose.hpp"

namespace isthmus {

// Larger payloads of all_gather, and more segments, would not fit into an announcement.
inline constexpr std::size_t max_gather_bytes = (1 << 20) - 256;
inline constexpr std::size_t max_segments = 1 << 16;

enum class Collective : std::uint8_t {
  all_reduce = 1,
  broadcast = 2,
  all_gather = 3,
  swap = 4,
  hand = 5
};

// Bytes that nobody computes with.
constexpr bool moves_bytes(Collective c) {
  return c == Collective::broadcast || c == Collective::swap || c == Collective::hand;
}

struct Request {
  Collective collective = Collective::all_gather;
  // all_reduce: `input` is the segments' wires as Format lays them out, `output` the memory of
  // their floats (for f32 it may be the same), or of the terms (collective/terms.hpp). broadcast
  // and swap: `output` is the caller's bytes, in and out; of a hand the root's or a taker's, and
  // empty at the others. Both stay until the work is done;
  // `output` is written once, when all went well.
  ByteView input{};
  ByteSpan output{};
  std::vector<Segment> segments{};  // all_reduce
  bool terms = false;               // all_reduce: keep them; not what the sites agree on
  bool mean = true;
  float weight = 1.0f;
  Algorithm algorithm = Algorithm::direct;
  Shares shares{};  // of direct; none: all the same
  Order order{};    // of ring; none: by rank. Of a hand: the takers; of a swap: who takes part
  std::uint32_t slice_elements = default_slice_elements;
  std::uint64_t layout = 0;          // a hash of what the elements mean
  int root = 0;                      // broadcast, hand; swap: the round
  std::uint64_t bytes = 0;           // hand: how many there are, at every site
  std::vector<std::byte> payload{};  // all_gather
};

// The part of a request that all sites must agree on, with the site's weight and payload.
struct SegmentName {
  std::uint8_t up = 0, up_variant = 0;
  std::uint8_t down = 0, down_variant = 0;
  std::uint64_t elements = 0;
  friend bool operator==(const SegmentName&, const SegmentName&) = default;
};

struct Announcement {
  Collective collective = Collective::all_gather;
  Algorithm algorithm = Algorithm::direct;
  std::uint8_t mean = 0;
  std::uint16_t root = 0;
  std::uint32_t slice_elements = 0;
  Shares shares{};
  Order order{};
  std::uint64_t bytes = 0;              // broadcast, swap, hand
  std::vector<SegmentName> segments{};  // all_reduce
  std::uint64_t layout = 0;
  float weight = 1.0f;
  std::vector<std::byte> payload{};  // all_gather
};

Announcement announcement_of(const Request& request);
std::vector<std::byte> to_payload(const Announcement& announcement);
Result<Announcement> parse_announcement(ByteView payload);
std::vector<std::byte> to_payload(const Status& why);  // of an abort

// "" if both ask for the same; else the first difference in words: "elements is 10 at site \"a\",
// 20 at …".
std::string difference(const Announcement& mine, const std::string& my_site,
                       const Announcement& theirs, const std::string& their_site);

std::string_view name_of(Collective collective);

}  // namespace isthmus
