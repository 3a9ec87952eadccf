#include "session/request.hpp"

#include <cmath>
#include <cstdio>

#include "collective/choose.hpp"

namespace isthmus {
namespace {

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string codec_text(std::uint8_t id) {
  const codecs::Codec* codec = codecs::find(static_cast<codecs::Id>(id), 0);
  return codec ? std::string(codec->name) : "none";
}

}  // namespace

std::string_view name_of(Collective collective) {
  switch (collective) {
    case Collective::all_reduce:
      return "all_reduce";
    case Collective::broadcast:
      return "broadcast";
    case Collective::all_gather:
      return "all_gather";
  }
  return "?";
}

Announcement announcement_of(const Request& r) {
  return {.collective = r.collective,
          .algorithm = r.algorithm,
          .up = r.up ? static_cast<std::uint8_t>(r.up->id) : std::uint8_t{0},
          .down = r.down ? static_cast<std::uint8_t>(r.down->id) : std::uint8_t{0},
          .mean = r.mean ? std::uint8_t{1} : std::uint8_t{0},
          .root = static_cast<std::uint16_t>(r.root),
          .elements = r.elements,
          .layout = r.layout,
          .weight = r.weight,
          .payload = r.payload};
}

std::vector<std::byte> to_payload(const Announcement& a) {
  return Writer()
      .put(static_cast<std::uint8_t>(a.collective))
      .put(static_cast<std::uint8_t>(a.algorithm))
      .put(a.up)
      .put(a.down)
      .put(a.mean)
      .put(a.root)
      .put(a.elements)
      .put(a.layout)
      .put(a.weight)
      .put_raw(a.payload)
      .take();
}

std::vector<std::byte> to_payload(const Status& why) {
  return Writer()
      .put(static_cast<std::uint8_t>(why.code))
      .put(static_cast<std::int16_t>(why.peer))
      .put(why.text)
      .take();
}

Result<Announcement> parse_announcement(ByteView payload) {
  Reader in(payload);
  Announcement a;
  const auto collective = in.get<std::uint8_t>();
  a.collective = static_cast<Collective>(collective);
  a.algorithm = static_cast<Algorithm>(in.get<std::uint8_t>());
  a.up = in.get<std::uint8_t>();
  a.down = in.get<std::uint8_t>();
  a.mean = in.get<std::uint8_t>();
  a.root = in.get<std::uint16_t>();
  a.elements = in.get<std::uint64_t>();
  a.layout = in.get<std::uint64_t>();
  a.weight = in.get<float>();
  if (!in.ok() || collective < 1 || collective > 3)
    return wire_error("its announcement makes no sense");
  if (!std::isfinite(a.weight) || a.weight < 0)
    return wire_error("it announced a weight that is no number of zero or more");
  if (a.collective != Collective::all_gather && in.left() != 0)
    return wire_error("its announcement is longer than it should be");
  const ByteView rest = in.get_raw(in.left());
  a.payload.assign(rest.begin(), rest.end());
  return a;
}

std::string difference(const Announcement& mine, const std::string& my_site,
                       const Announcement& theirs, const std::string& their_site) {
  const auto say = [&](const char* what, const std::string& here, const std::string& there) {
    return std::string(what) + " is " + here + " at site \"" + my_site + "\" and " + there +
           " at site \"" + their_site + "\"";
  };
  if (mine.collective != theirs.collective)
    return say("the operation", std::string(name_of(mine.collective)),
               std::string(name_of(theirs.collective)));
  if (mine.collective == Collective::all_gather) return "";
  if (mine.elements != theirs.elements)
    return say(
        mine.collective == Collective::broadcast ? "the length in bytes" : "the number of elements",
        std::to_string(mine.elements), std::to_string(theirs.elements));
  if (mine.root != theirs.root)
    return say("root", std::to_string(mine.root), std::to_string(theirs.root));
  if (mine.up != theirs.up) return say("the codec", codec_text(mine.up), codec_text(theirs.up));
  if (mine.down != theirs.down)
    return say("the codec down", codec_text(mine.down), codec_text(theirs.down));
  if (mine.mean != theirs.mean)
    return say("op", mine.mean ? "mean" : "sum", theirs.mean ? "mean" : "sum");
  if (mine.layout != theirs.layout)
    return say("the bucket layout", hex(mine.layout), hex(theirs.layout));
  if (mine.algorithm != theirs.algorithm)
    return say("the schedule", std::string(name_of(mine.algorithm)),
               std::string(name_of(theirs.algorithm)));
  return "";
}

}  // namespace isthmus
