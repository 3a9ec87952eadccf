#include "net/frame.hpp"

namespace isthmus {
namespace {

constexpr std::size_t check_at = header_bytes - 4;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t castagnoli_reflected = 0x82f63b78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? castagnoli_reflected : 0);
    table[i] = crc;
  }
  return table;
}

constexpr auto crc_table = make_crc_table();

bool known(Kind kind) {
  switch (kind) {
    case Kind::hello:
    case Kind::welcome:
    case Kind::announce:
    case Kind::slice:
    case Kind::heartbeat:
    case Kind::goodbye:
    case Kind::abort:
    case Kind::relay:
    case Kind::offer:
    case Kind::census:
    case Kind::broken:
    case Kind::receipt:
    case Kind::join:
    case Kind::roster:
    case Kind::refuse:
    case Kind::leave:
    case Kind::presence:
    case Kind::waiting:
    case Kind::come:
      return true;
  }
  return false;
}

}  // namespace

std::uint32_t crc32c(ByteView bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::byte b : bytes)
    crc = (crc >> 8) ^ crc_table[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  return ~crc;
}

HeaderBytes to_bytes(const Header& h) {
  HeaderBytes out{};
  std::byte* p = out.data();
  store(p, frame_magic);
  store(p + 4, protocol_version);
  store(p + 5, static_cast<std::uint8_t>(h.kind));
  store(p + 6, h.source);
  store(p + 8, h.run);
  store(p + 16, h.generation);
  store(p + 20, h.attempt);
  store(p + 24, h.operation);
  store(p + 32, h.transfer);
  store(p + 36, h.length);
  store(p + 40, h.offset);
  store(p + 48, h.watermark);
  store(p + check_at, crc32c(ByteView(out).first(check_at)));
  return out;
}

Result<Header> parse_header(const HeaderBytes& bytes) {
  const std::byte* p = bytes.data();
  if (load<std::uint32_t>(p) != frame_magic)
    return wire_error("these bytes are not isthmus frames (wrong magic)");
  if (const auto version = load<std::uint8_t>(p + 4); version != protocol_version)
    return refused("protocol version " + std::to_string(version) + " there, " +
                   std::to_string(protocol_version) +
                   " here: install the same isthmus at every site");
  if (load<std::uint32_t>(p + check_at) != crc32c(ByteView(bytes).first(check_at)))
    return wire_error("a frame header arrived damaged (wrong check)");
  Header h;
  h.kind = static_cast<Kind>(load<std::uint8_t>(p + 5));
  h.source = load<std::uint16_t>(p + 6);
  h.run = load<std::uint64_t>(p + 8);
  h.generation = load<std::uint32_t>(p + 16);
  h.attempt = load<std::uint32_t>(p + 20);
  h.operation = load<std::uint64_t>(p + 24);
  h.transfer = load<std::uint32_t>(p + 32);
  h.length = load<std::uint32_t>(p + 36);
  h.offset = load<std::uint64_t>(p + 40);
  h.watermark = load<std::uint64_t>(p + 48);
  if (!known(h.kind))
    return wire_error("unknown frame kind " + std::to_string(static_cast<int>(h.kind)));
  if (load<std::uint32_t>(p + 56) != 0) return wire_error("a reserved header field is not zero");
  if (h.length > max_payload_bytes)
    return wire_error("a frame of " + std::to_string(h.length) + " bytes exceeds the limit of " +
                      std::to_string(max_payload_bytes));
  return h;
}

}  // namespace isthmus
