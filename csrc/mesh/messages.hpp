// Messages: what a site and the coordinator say to each other, as payloads. wire.md is the
// authority for the bytes.
//
// Decoding takes a stranger's bytes: nothing is allocated beyond the limits here, and whatever is
// decoded well obeys them. Texts that came from outside are reduced to printable ASCII, so that
// they may be shown.
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/status.hpp"
#include "mesh/presence.hpp"
#include "mesh/rendezvous.hpp"
#include "mesh/roster.hpp"

namespace isthmus {

inline constexpr std::size_t max_site_name = 64;
inline constexpr std::size_t max_run_id = 128;
inline constexpr std::size_t max_address = 255;
inline constexpr std::size_t max_refusal = 2048;
inline constexpr std::uint32_t max_join_bytes = 8 << 10;  // of anything that a site says
inline constexpr std::uint32_t max_roster_bytes = 64 << 10;

// How often a site says that it is alive (the coordinator answers), and after how much silence the
// other is lost.
inline constexpr std::int64_t greeting_period_ns = 5 * second_ns;
inline constexpr std::int64_t silence_limit_ns = 15 * second_ns;

// Refused, with a text that names the field, if a name, number or address is beyond the limits.
Status check(const JoinRequest& request);

// REQUIRES: check(request).ok().
std::vector<std::byte> encode_join(const JoinRequest& request);
// A wire_error if these bytes are no join; Refused if they are one that check() refuses.
Result<JoinRequest> decode_join(ByteView payload);

// The sites that are there, and how many are to come. The run's number and the generation stand in
// the header: generation 0 is a list so far, not yet a roster.
struct Attendance {
  int sites = 0;
  std::vector<Member> members;  // sorted by site name, no name twice
  friend bool operator==(const Attendance&, const Attendance&) = default;
};
std::vector<std::byte> encode_attendance(const Attendance& attendance);
Result<Attendance> decode_attendance(ByteView payload);

// What is decoded has names within the limits, sorted, none twice; a presence's site is in its
// roster. REQUIRES, of all three encodings: so has what is encoded.
std::vector<std::byte> encode_presence(const Presence& presence);
Result<Presence> decode_presence(ByteView payload);
std::vector<std::byte> encode_waiting(const Waiting& waiting);
Result<Waiting> decode_waiting(ByteView payload);
std::vector<std::byte> encode_call(const Call& call);
Result<Call> decode_call(ByteView payload);

std::vector<std::byte> encode_refusal(std::string_view text);
Result<std::string> decode_refusal(ByteView payload);

// "aws, gcp", of both
std::string names_of(const std::vector<std::string>& sites);
std::string names_of(const std::vector<Member>& members);

}  // namespace isthmus
