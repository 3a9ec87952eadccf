// Packets as a TUN device with segmentation offload hands them over: the ten bytes of a virtio_net
// header, then IPv4; one such packet may stand for many TCP segments.
//
// Pure functions for the packet loop and its tests. No length that a packet names is trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"

namespace isthmus::wan {

inline constexpr std::size_t vnet_bytes = 10;
inline constexpr std::size_t largest_packet = vnet_bytes + 65535;

// Run: segments `first` to before `end` of one packet.
struct Run {
  std::size_t first = 0;
  std::size_t end = 0;
};

// Shape: how a packet divides into segments as a real line would carry them, each with headers of
// its own.
struct Shape {
  std::uint32_t target = 0;  // destination address, host order
  std::size_t ip_bytes = 0;  // the two headers; all of an undivided packet counts as ip_bytes
  std::size_t tcp_bytes = 0;
  std::size_t payload_bytes = 0;
  std::size_t segment_bytes = 0;  // payload of every segment but the last; 0: undivided

  std::size_t segments() const;
  std::size_t wire_bytes(Run run) const;  // of these segments with their headers
  Run all() const { return {0, segments()}; }
};

// Nothing for what is no IPv4 packet.
std::optional<Shape> read_shape(ByteView packet);

// The runs that are left of `segments` segments without the lost ones.
// REQUIRES: `lost` ascends strictly and is below `segments`.
std::vector<Run> without(std::size_t segments, std::span<const std::size_t> lost);

// The run as a packet of its own, with lengths, sequence number, flags and checksums made right.
// REQUIRES: shape == read_shape(packet), and the run is not empty and within shape.all().
std::vector<std::byte> cut_out(ByteView packet, const Shape& shape, Run run);

// The first segment as a packet of its own, with its checksum made and then one byte of its payload
// changed, as a wire would. REQUIRES: as of cut_out, and shape has several segments.
std::vector<std::byte> damaged_first(ByteView packet, const Shape& shape);

}  // namespace isthmus::wan
