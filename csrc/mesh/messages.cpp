#include "mesh/messages.hpp"

#include <algorithm>

namespace isthmus {
namespace {

constexpr char first_printable = 0x20;
constexpr char last_printable = 0x7e;

std::string printable(std::string_view text) {
  std::string out(text.substr(0, max_refusal));
  std::ranges::replace_if(
      out, [](char c) { return c < first_printable || c > last_printable; }, '?');
  return out;
}

bool name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

Status check_name(std::string_view what, std::string_view name, std::size_t limit) {
  if (!name.empty() && name.size() <= limit && std::ranges::all_of(name, name_character)) return {};
  return refused(std::string(what) + " \"" + printable(name.substr(0, limit)) +
                 "\": it must be 1 to " + std::to_string(limit) +
                 " characters out of letters, digits, '.', '_' and '-'");
}

Status check_member(const Member& member) {
  if (auto s = check_name("site name", member.site, max_site_name); !s.ok()) return s;
  if (member.streams < 0 || member.streams > max_streams)
    return refused("site \"" + member.site + "\" asks for " + std::to_string(member.streams) +
                   " streams: it must be 0 to " + std::to_string(max_streams));
  const std::string& address = member.address;
  const bool plain = std::ranges::all_of(
      address, [](char c) { return c > first_printable && c <= last_printable; });
  const bool has_port = address.empty() || address.find(':') != std::string::npos;
  if (address.size() > max_address || !plain || !has_port)
    return refused("site \"" + member.site + "\" advertises the address \"" +
                   printable(address.substr(0, max_address)) + "\": it must be \"host:port\"");
  return {};
}

void put_member(Writer& writer, const Member& member) {
  writer.put(std::string_view(member.site));
  writer.put(std::string_view(member.address));
  writer.put(static_cast<std::uint16_t>(member.streams));
}

Member get_member(Reader& reader) {
  Member member;
  member.site = reader.get_text();
  member.address = reader.get_text();
  member.streams = reader.get<std::uint16_t>();
  return member;
}

}  // namespace

Status check(const JoinRequest& request) {
  if (auto s = check_name("run id", request.run, max_run_id); !s.ok()) return s;
  if (request.sites < 1 || request.sites > max_sites)
    return refused("sites=" + std::to_string(request.sites) + ": it must be 1 to " +
                   std::to_string(max_sites));
  return check_member(request.self);
}

std::vector<std::byte> encode_join(const JoinRequest& request) {
  Writer writer;
  writer.put(std::string_view(request.run));
  writer.put(static_cast<std::uint16_t>(request.sites));
  writer.put(request.codec_table);
  writer.put(request.ticket);
  put_member(writer, request.self);
  return writer.take();
}

Result<JoinRequest> decode_join(ByteView payload) {
  if (payload.size() > max_join_bytes) return wire_error("a join that is too long");
  Reader reader(payload);
  JoinRequest request;
  request.run = reader.get_text();
  request.sites = reader.get<std::uint16_t>();
  request.codec_table = reader.get<std::uint64_t>();
  request.ticket = reader.get<std::uint64_t>();
  request.self = get_member(reader);
  if (!reader.ended()) return wire_error("a join whose fields do not fit its length");
  if (auto s = check(request); !s.ok()) return s;
  return request;
}

std::vector<std::byte> encode_attendance(const Attendance& attendance) {
  Writer writer;
  writer.put(static_cast<std::uint16_t>(attendance.sites));
  writer.put(static_cast<std::uint16_t>(attendance.members.size()));
  for (const Member& member : attendance.members) put_member(writer, member);
  return writer.take();
}

Result<Attendance> decode_attendance(ByteView payload) {
  if (payload.size() > max_roster_bytes) return wire_error("a roster that is too long");
  Reader reader(payload);
  Attendance attendance;
  attendance.sites = reader.get<std::uint16_t>();
  const int count = reader.get<std::uint16_t>();
  if (attendance.sites < 1 || attendance.sites > max_sites || count > attendance.sites)
    return wire_error("a roster of " + std::to_string(count) + " of " +
                      std::to_string(attendance.sites) + " sites");
  for (int i = 0; i < count; ++i) {
    Member member = get_member(reader);
    if (!reader.ok()) break;
    if (auto s = check_member(member); !s.ok()) return wire_error("a roster with a bad " + s.text);
    if (!attendance.members.empty() && attendance.members.back().site >= member.site)
      return wire_error("a roster that is not sorted by site name");
    attendance.members.push_back(std::move(member));
  }
  if (!reader.ended()) return wire_error("a roster whose fields do not fit its length");
  return attendance;
}

std::vector<std::byte> encode_refusal(std::string_view text) {
  return Writer().put(std::string_view(printable(text))).take();
}

Result<std::string> decode_refusal(ByteView payload) {
  Reader reader(payload);
  const std::string text = reader.get_text();
  if (!reader.ended() || text.empty()) return wire_error("a refusal without a text");
  return printable(text);
}

std::string names_of(const std::vector<Member>& members) {
  std::string names;
  for (const Member& member : members) names += (names.empty() ? "" : ", ") + member.site;
  return names;
}

}  // namespace isthmus
