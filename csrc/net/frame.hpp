// Frame: the unit on every connection; a fixed header, then `length` bytes. wire.md is the
// authority for the bytes.
//
// Parsing never trusts: a header with a wrong magic, version, kind, length or check is a
// wire_error. Whether a frame makes sense at this moment is for the layer above to say.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/status.hpp"

namespace isthmus {

inline constexpr std::uint32_t frame_magic = 0x48545349;  // "ISTH"
inline constexpr std::uint8_t protocol_version = 3;
inline constexpr std::size_t header_bytes = 64;
inline constexpr std::uint32_t max_payload_bytes = 1 << 20;

enum class Kind : std::uint8_t {
  // Between two sites.
  hello = 1,      // opens a stream of the mesh
  welcome = 2,    // the stream is accepted
  announce = 3,   // "I have begun this operation, and this is what I think it is"
  slice = 4,      // a part of an operation's data
  heartbeat = 5,  // alive
  goodbye = 6,    // leaving in peace; nothing follows
  abort = 7,      // my session failed, and this is why
  relay = 8,      // "connect me with this site, which I cannot reach"
  offer = 9,      // "this connection leads to me: for the site that cannot reach me"
  census = 10,    // which sites go on, and what this one has finished
  broken = 11,    // a data stream has ended, and what of it had come
  receipt = 12,   // what has come by data streams
  // Between a site and the coordinator.
  join = 16,      // site: I am here
  roster = 17,    // coordinator: everybody is here
  refuse = 18,    // coordinator, relay: no, and why; site: I could not reach a peer, and why
  leave = 19,     // site: leaving in peace
  presence = 20,  // site that takes part: in which roster of which epoch
  waiting = 21,   // coordinator: the run goes on without you; you will be called
  come = 22,      // coordinator: these sites meet for the next epoch
};

struct Header {
  Kind kind = Kind::heartbeat;
  std::uint16_t source = 0;  // rank of the sender
  std::uint64_t run = 0;     // the coordinator's random number for this mesh
  std::uint32_t generation = 0;
  std::uint32_t attempt = 0;        // of the operation
  std::uint64_t operation = 0;      // counted from 0 in every session
  std::uint32_t transfer = 0;       // within the operation's schedule
  std::uint32_t length = 0;         // payload bytes after the header
  std::uint64_t offset = 0;         // slice: first element, counted from the transfer's beginning;
                                    // control stream: frames of the other end that have come
  std::uint64_t watermark = 0;      // the sender has finished all operations below this one
  std::uint32_t payload_check = 0;  // CRC-32C of the payload; 0: none was made
  friend bool operator==(const Header&, const Header&) = default;
};

using HeaderBytes = std::array<std::byte, header_bytes>;

HeaderBytes to_bytes(const Header& header);
Result<Header> parse_header(const HeaderBytes& bytes);

// Whether a header's own check is right: what else is wrong with it was meant.
bool is_intact(const HeaderBytes& bytes);

}  // namespace isthmus
