#include "net/frame.hpp"

#include "net/crc32c.hpp"

namespace isthmus {
namespace {

constexpr std::size_t payload_check_at = header_bytes - 8;
constexpr std::size_t check_at = header_bytes - 4;

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

bool is_intact(const HeaderBytes& bytes) {
  return load<std::uint32_t>(bytes.data() + check_at) == crc32c(ByteView(bytes).first(check_at));
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
  store(p + payload_check_at, h.payload_check);
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
  if (!is_intact(bytes)) return wire_error("a frame header arrived damaged (wrong check)");
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
  h.payload_check = load<std::uint32_t>(p + payload_check_at);
  if (!known(h.kind))
    return wire_error("unknown frame kind " + std::to_string(static_cast<int>(h.kind)));
  if (h.length > max_payload_bytes)
    return wire_error("a frame of " + std::to_string(h.length) + " bytes exceeds the limit of " +
                      std::to_string(max_payload_bytes));
  return h;
}

}  // namespace isthmus
