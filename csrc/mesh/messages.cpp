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

void put_names(Writer& writer, const std::vector<std::string>& names) {
  writer.put(static_cast<std::uint16_t>(names.size()));
  for (const std::string& name : names) writer.put(std::string_view(name));
}

std::vector<std::string> get_names(Reader& reader) {
  const int count = reader.get<std::uint16_t>();
  std::vector<std::string> names;
  for (int i = 0; i < count && reader.ok(); ++i) names.push_back(reader.get_text());
  return names;
}

Status check_names(const std::vector<std::string>& names) {
  if (names.size() > static_cast<std::size_t>(max_sites))
    return refused("a list of " + std::to_string(names.size()) + " sites: at most " +
                   std::to_string(max_sites) + " take part");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (auto s = check_name("site name", names[i], max_site_name); !s.ok()) return s;
    if (i > 0 && names[i - 1] >= names[i])
      return refused("a list of sites that is not sorted by name");
  }
  return {};
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::binary_search(names, name);
}

Status check_call(const Call& call, const std::string& site) {
  if (auto s = check_names(call.sites); !s.ok()) return s;
  if (call.epoch == 0 && !call.sites.empty()) return refused("sites are called to no epoch");
  if (call.epoch != 0 && !has(call.sites, site))
    return refused("site \"" + site + "\" is not among those that are called to epoch " +
                   std::to_string(call.epoch) + ": " + names_of(call.sites));
  return {};
}

// What came from outside and is refused, as what it is: bytes that make no sense.
Status senseless(std::string_view what, const Status& why) {
  return wire_error("a " + std::string(what) + " with " + why.text);
}

}  // namespace

Status check(const JoinRequest& request) {
  if (auto s = check_name("run id", request.run, max_run_id); !s.ok()) return s;
  if (request.sites < 1 || request.sites > max_sites)
    return refused("sites=" + std::to_string(request.sites) + ": it must be 1 to " +
                   std::to_string(max_sites));
  if (auto s = check_member(request.self); !s.ok()) return s;
  if (request.call.epoch != 0 && request.sites != static_cast<int>(request.call.sites.size()))
    return refused("sites=" + std::to_string(request.sites) + ", but " +
                   std::to_string(request.call.sites.size()) + " are called");
  return check_call(request.call, request.self.site);
}

std::vector<std::byte> encode_join(const JoinRequest& request) {
  Writer writer;
  writer.put(std::string_view(request.run));
  writer.put(static_cast<std::uint16_t>(request.sites));
  writer.put(request.codec_table);
  writer.put(request.ticket);
  put_member(writer, request.self);
  writer.put(request.call.epoch);
  put_names(writer, request.call.sites);
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
  request.call.epoch = reader.get<std::uint32_t>();
  request.call.sites = get_names(reader);
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

std::vector<std::byte> encode_presence(const Presence& presence) {
  Writer writer;
  writer.put(std::string_view(presence.run));
  writer.put(std::string_view(presence.site));
  writer.put(presence.epoch);
  writer.put(static_cast<std::uint8_t>(presence.standing));
  writer.put(presence.called);
  writer.put(presence.failed);
  writer.put(presence.codec_table);
  put_names(writer, presence.roster);
  writer.put(static_cast<std::uint16_t>(presence.min_sites));
  writer.put(std::string_view(presence.favourite));
  return writer.take();
}

Result<Presence> decode_presence(ByteView payload) {
  Reader reader(payload);
  Presence presence;
  presence.run = reader.get_text();
  presence.site = reader.get_text();
  presence.epoch = reader.get<std::uint32_t>();
  const auto standing = reader.get<std::uint8_t>();
  presence.standing = static_cast<Standing>(standing);
  presence.called = reader.get<std::uint32_t>();
  presence.failed = reader.get<std::uint32_t>();
  presence.codec_table = reader.get<std::uint64_t>();
  presence.roster = get_names(reader);
  presence.min_sites = reader.get<std::uint16_t>();
  presence.favourite = reader.get_text();
  if (!reader.ended()) return wire_error("a presence whose fields do not fit its length");
  if (standing < 1 || standing > 3) return wire_error("a presence of no known standing");
  if (auto s = check_name("run id", presence.run, max_run_id); !s.ok())
    return senseless("presence", s);
  if (auto s = check_names(presence.roster); !s.ok()) return senseless("presence", s);
  if (!presence.favourite.empty())
    if (auto s = check_name("favourite", presence.favourite, max_site_name); !s.ok())
      return senseless("presence", s);
  if (!has(presence.roster, presence.site))
    return wire_error("a presence of a site that is not in its roster");
  if (presence.min_sites < 1 || presence.min_sites > max_sites)
    return wire_error("a presence of min_sites=" + std::to_string(presence.min_sites));
  return presence;
}

std::vector<std::byte> encode_waiting(const Waiting& waiting) {
  Writer writer;
  writer.put(waiting.epoch);
  put_names(writer, waiting.members);
  put_names(writer, waiting.waiters);
  return writer.take();
}

Result<Waiting> decode_waiting(ByteView payload) {
  Reader reader(payload);
  Waiting waiting;
  waiting.epoch = reader.get<std::uint32_t>();
  waiting.members = get_names(reader);
  waiting.waiters = get_names(reader);
  if (!reader.ended()) return wire_error("a word to who waits whose fields do not fit its length");
  for (const auto* names : {&waiting.members, &waiting.waiters})
    if (auto s = check_names(*names); !s.ok()) return senseless("word to who waits", s);
  return waiting;
}

std::vector<std::byte> encode_call(const Call& call) {
  Writer writer;
  writer.put(call.epoch);
  put_names(writer, call.sites);
  return writer.take();
}

Result<Call> decode_call(ByteView payload) {
  Reader reader(payload);
  Call call;
  call.epoch = reader.get<std::uint32_t>();
  call.sites = get_names(reader);
  if (!reader.ended()) return wire_error("a call whose fields do not fit its length");
  if (call.epoch == 0) return wire_error("a call to no epoch");
  if (auto s = check_names(call.sites); !s.ok()) return senseless("call", s);
  return call;
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

std::string names_of(const std::vector<std::string>& sites) {
  std::string names;
  for (const std::string& site : sites) names += (names.empty() ? "" : ", ") + site;
  return names;
}

std::string names_of(const std::vector<Member>& members) {
  std::string names;
  for (const Member& member : members) names += (names.empty() ? "" : ", ") + member.site;
  return names;
}

}  // namespace isthmus
