#include "wan/packet.hpp"

#include <algorithm>

namespace isthmus::wan {
namespace {

// struct virtio_net_hdr, whose fields have the machine's byte order.
constexpr std::size_t vnet_flags = 0, vnet_kind = 1, vnet_segment = 4, vnet_checksum_start = 6,
                      vnet_checksum_offset = 8;
constexpr unsigned needs_checksum = 1, kind_tcp4 = 1, kind_ecn = 0x80;

// RFC 791 and RFC 9293, big endian.
constexpr std::size_t ip_total = 2, ip_id = 4, ip_fragment = 6, ip_protocol = 9, ip_checksum = 10,
                      ip_source = 12, ip_target = 16, ip_least = 20;
constexpr std::size_t tcp_sequence = 4, tcp_offset = 12, tcp_flags = 13, tcp_checksum = 16,
                      tcp_least = 20;
constexpr unsigned protocol_tcp = 6, fragment_mask = 0x3fff;  // more-fragments and the offset
constexpr unsigned flag_fin = 0x01, flag_psh = 0x08, flag_cwr = 0x80;

unsigned get8(ByteView bytes, std::size_t at) {
  return std::to_integer<unsigned>(bytes[at]);
}
unsigned get16(ByteView bytes, std::size_t at) {
  return get8(bytes, at) << 8 | get8(bytes, at + 1);
}
std::uint32_t get32(ByteView bytes, std::size_t at) {
  return std::uint32_t{get16(bytes, at)} << 16 | get16(bytes, at + 2);
}
void put16(ByteSpan bytes, std::size_t at, std::size_t value) {
  bytes[at] = static_cast<std::byte>(value >> 8 & 0xff);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}
void put32(ByteSpan bytes, std::size_t at, std::size_t value) {
  put16(bytes, at, value >> 16);
  put16(bytes, at + 2, value);
}
void clear_flags(ByteSpan tcp, unsigned flags) {
  tcp[tcp_flags] &= ~static_cast<std::byte>(flags);
}

// RFC 1071's one's complement sum of 16-bit words. REQUIRES: an even number of bytes, as in
// headers.
std::size_t sum_words(ByteView bytes) {
  std::size_t sum = 0;
  for (std::size_t at = 0; at + 1 < bytes.size(); at += 2) sum += get16(bytes, at);
  return sum;
}
std::size_t fold(std::size_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

// Whether the kernel left this packet's division into TCP segments, and their checksums, to the
// device.
bool divisible(ByteView packet, ByteView ip, std::size_t ip_bytes) {
  const auto kind = get8(packet, vnet_kind) & ~kind_ecn;
  if (kind != kind_tcp4 || (get8(packet, vnet_flags) & needs_checksum) == 0) return false;
  if (load<std::uint16_t>(packet.data() + vnet_segment) == 0) return false;
  if (load<std::uint16_t>(packet.data() + vnet_checksum_start) != ip_bytes) return false;
  if (load<std::uint16_t>(packet.data() + vnet_checksum_offset) != tcp_checksum) return false;
  if (get8(ip, ip_protocol) != protocol_tcp || (get16(ip, ip_fragment) & fragment_mask) != 0)
    return false;
  return get16(ip, ip_total) == ip.size() && ip.size() >= ip_bytes + tcp_least;
}

}  // namespace

std::size_t Shape::segments() const {
  if (segment_bytes == 0 || payload_bytes == 0) return 1;
  return (payload_bytes + segment_bytes - 1) / segment_bytes;
}

std::size_t Shape::wire_bytes(Run run) const {
  const std::size_t headers = (run.end - run.first) * (ip_bytes + tcp_bytes);
  const std::size_t begin = std::min(run.first * segment_bytes, payload_bytes);
  return headers + std::min(run.end * segment_bytes, payload_bytes) - begin;
}

std::optional<Shape> read_shape(ByteView packet) {
  if (packet.size() < vnet_bytes + ip_least) return std::nullopt;
  const ByteView ip = packet.subspan(vnet_bytes);
  const std::size_t ip_bytes = (get8(ip, 0) & 15) * std::size_t{4};
  if (get8(ip, 0) >> 4 != 4 || ip_bytes < ip_least || ip_bytes > ip.size()) return std::nullopt;
  const Shape undivided{.target = get32(ip, ip_target), .ip_bytes = ip.size()};
  if (!divisible(packet, ip, ip_bytes)) return undivided;
  const std::size_t tcp_bytes = (get8(ip, ip_bytes + tcp_offset) >> 4) * std::size_t{4};
  if (tcp_bytes < tcp_least || ip_bytes + tcp_bytes > ip.size()) return undivided;
  return Shape{.target = undivided.target,
               .ip_bytes = ip_bytes,
               .tcp_bytes = tcp_bytes,
               .payload_bytes = ip.size() - ip_bytes - tcp_bytes,
               .segment_bytes = load<std::uint16_t>(packet.data() + vnet_segment)};
}

std::vector<Run> without(std::size_t segments, std::span<const std::size_t> lost) {
  std::vector<Run> runs;
  std::size_t first = 0;
  for (const std::size_t gone : lost) {
    if (gone > first) runs.push_back({first, gone});
    first = gone + 1;
  }
  if (first < segments) runs.push_back({first, segments});
  return runs;
}

std::vector<std::byte> cut_out(ByteView packet, const Shape& shape, Run run) {
  if (run.first == 0 && run.end == shape.segments()) return {packet.begin(), packet.end()};
  const std::size_t headers = vnet_bytes + shape.ip_bytes + shape.tcp_bytes;
  const std::size_t begin = run.first * shape.segment_bytes;
  const std::size_t end = std::min(run.end * shape.segment_bytes, shape.payload_bytes);
  const ByteView payload = packet.subspan(headers + begin, end - begin);
  std::vector<std::byte> out;
  out.reserve(headers + payload.size());
  out.insert(out.end(), packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(headers));
  out.insert(out.end(), payload.begin(), payload.end());

  if (run.end - run.first == 1) {  // nothing is left to divide; the checksum still is
    out[vnet_kind] = std::byte{0};
    store(out.data() + vnet_segment, std::uint16_t{0});
  }
  const ByteSpan ip = ByteSpan(out).subspan(vnet_bytes);
  const ByteSpan ip_header = ip.first(shape.ip_bytes);
  put16(ip, ip_total, ip.size());
  put16(ip, ip_id, get16(ip, ip_id) + run.first);  // as the kernel numbers the segments
  put16(ip, ip_checksum, 0);
  put16(ip, ip_checksum, ~fold(sum_words(ip_header)));

  const ByteSpan tcp = ip.subspan(shape.ip_bytes);
  put32(tcp, tcp_sequence, get32(tcp, tcp_sequence) + begin);
  if (end != shape.payload_bytes) clear_flags(tcp, flag_fin | flag_psh);
  if (begin != 0) clear_flags(tcp, flag_cwr);
  // Where a checksum is still to be made, its field holds the sum over the pseudo header.
  const std::size_t addresses = sum_words(ip.subspan(ip_source, 8));
  put16(tcp, tcp_checksum, fold(addresses + protocol_tcp + tcp.size()));
  return out;
}

std::vector<std::byte> damaged_first(ByteView packet, const Shape& shape) {
  std::vector<std::byte> out = cut_out(packet, shape, {0, 1});
  // Said to be checked by nobody yet: the kernel that gets it does.
  out[vnet_flags] = std::byte{0};
  store(out.data() + vnet_checksum_start, std::uint16_t{0});
  store(out.data() + vnet_checksum_offset, std::uint16_t{0});
  const ByteSpan tcp = ByteSpan(out).subspan(vnet_bytes + shape.ip_bytes);
  std::size_t sum = sum_words(tcp);  // over the pseudo header too, which is in the field
  if (tcp.size() % 2 != 0) sum += std::size_t{get8(tcp, tcp.size() - 1)} << 8;
  put16(tcp, tcp_checksum, ~fold(sum));
  tcp[shape.tcp_bytes + (tcp.size() - shape.tcp_bytes) / 2] ^= std::byte{0x20};
  return out;
}

}  // namespace isthmus::wan
