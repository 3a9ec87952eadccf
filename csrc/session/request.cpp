#include "session/request.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace isthmus {
namespace {

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string codec_text(std::uint8_t id, std::uint8_t variant) {
  const codecs::Codec* codec = codecs::find(static_cast<codecs::Id>(id), variant);
  return codec != nullptr ? std::string(codec->name) : "unknown";
}

SegmentName name_of(const Segment& segment) {
  return {.up = static_cast<std::uint8_t>(segment.up->id),
          .up_variant = segment.up->variant,
          .down = static_cast<std::uint8_t>(segment.down->id),
          .down_variant = segment.down->variant,
          .elements = segment.elements};
}

std::uint64_t elements_of(const Announcement& a) {
  std::uint64_t sum = 0;
  for (const SegmentName& segment : a.segments) sum += segment.elements;
  return sum;
}

std::string ranks_text(const Order& ranks) {
  std::string text = ranks.empty() ? "no rank" : "rank";
  for (const int rank : ranks) text += " " + std::to_string(rank);
  return text;
}

// The first segment in which the two differ. REQUIRES: they have as many.
std::size_t first_odd(const Announcement& a, const Announcement& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a.segments, b.segments).in1 -
                                  a.segments.begin());
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
    case Collective::swap:
      return "swap";
    case Collective::hand:
      return "hand";
  }
  return "?";
}

Announcement announcement_of(const Request& r) {
  Announcement a{.collective = r.collective,
                 .algorithm = r.algorithm,
                 .mean = r.mean ? std::uint8_t{1} : std::uint8_t{0},
                 .root = static_cast<std::uint16_t>(r.root),
                 .slice_elements = r.slice_elements,
                 .shares = r.shares,
                 .order = r.order,
                 .bytes = r.collective == Collective::hand ? r.bytes
                          : moves_bytes(r.collective)      ? r.output.size()
                                                           : 0,
                 .layout = r.layout,
                 .weight = r.weight,
                 .payload = r.payload};
  for (const Segment& segment : r.segments) a.segments.push_back(name_of(segment));
  return a;
}

std::vector<std::byte> to_payload(const Announcement& a) {
  Writer out;
  out.put(static_cast<std::uint8_t>(a.collective))
      .put(static_cast<std::uint8_t>(a.algorithm))
      .put(a.mean)
      .put(a.root)
      .put(a.slice_elements)
      .put(static_cast<std::uint16_t>(a.shares.size()));
  for (const std::uint32_t share : a.shares) out.put(share);
  out.put(static_cast<std::uint16_t>(a.order.size()));
  for (const std::uint16_t rank : a.order) out.put(rank);
  out.put(a.bytes).put(a.layout).put(a.weight).put(static_cast<std::uint32_t>(a.segments.size()));
  for (const SegmentName& segment : a.segments) {
    out.put(segment.up)
        .put(segment.up_variant)
        .put(segment.down)
        .put(segment.down_variant)
        .put(segment.elements);
  }
  return out.put_raw(a.payload).take();
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
  a.mean = in.get<std::uint8_t>();
  a.root = in.get<std::uint16_t>();
  a.slice_elements = in.get<std::uint32_t>();
  const auto shares = in.get<std::uint16_t>();
  for (std::uint16_t i = 0; i < shares && in.ok(); ++i) a.shares.push_back(in.get<std::uint32_t>());
  const auto places = in.get<std::uint16_t>();
  for (std::uint16_t i = 0; i < places && in.ok(); ++i) a.order.push_back(in.get<std::uint16_t>());
  a.bytes = in.get<std::uint64_t>();
  a.layout = in.get<std::uint64_t>();
  a.weight = in.get<float>();
  const auto segments = in.get<std::uint32_t>();
  if (segments > max_segments) return wire_error("it announced too many segments");
  for (std::uint32_t i = 0; i < segments && in.ok(); ++i) {
    SegmentName& segment = a.segments.emplace_back();
    segment.up = in.get<std::uint8_t>();
    segment.up_variant = in.get<std::uint8_t>();
    segment.down = in.get<std::uint8_t>();
    segment.down_variant = in.get<std::uint8_t>();
    segment.elements = in.get<std::uint64_t>();
  }
  if (!in.ok() || collective < 1 || collective > 5)
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
  if (mine.collective == Collective::all_gather)  // only the one that ends joining has a layout
    return mine.layout == theirs.layout ? ""
                                        : say("on_loss, with its min_sites and favourite,",
                                              hex(mine.layout), hex(theirs.layout));
  if (mine.bytes != theirs.bytes)
    return say("the length in bytes", std::to_string(mine.bytes), std::to_string(theirs.bytes));
  if (elements_of(mine) != elements_of(theirs))
    return say("the number of elements", std::to_string(elements_of(mine)),
               std::to_string(elements_of(theirs)));
  if (mine.root != theirs.root)
    return say("root", std::to_string(mine.root), std::to_string(theirs.root));
  if (mine.segments.size() != theirs.segments.size())
    return say("the number of segments", std::to_string(mine.segments.size()),
               std::to_string(theirs.segments.size()));
  if (const std::size_t odd = first_odd(mine, theirs); odd < mine.segments.size()) {
    const SegmentName& here = mine.segments[odd];
    const SegmentName& there = theirs.segments[odd];
    const std::string up = codec_text(here.up, here.up_variant);
    const std::string their_up = codec_text(there.up, there.up_variant);
    if (up != their_up) return say("the codec", up, their_up);
    if (here.elements != there.elements)
      return say("a segment's length", std::to_string(here.elements),
                 std::to_string(there.elements));
    return say("the codec down", codec_text(here.down, here.down_variant),
               codec_text(there.down, there.down_variant));
  }
  if (mine.mean != theirs.mean)
    return say("op", mine.mean ? "mean" : "sum", theirs.mean ? "mean" : "sum");
  if (mine.layout != theirs.layout)
    return say("the bucket layout", hex(mine.layout), hex(theirs.layout));
  if (mine.algorithm != theirs.algorithm)
    return say("the schedule", std::string(name_of(mine.algorithm)),
               std::string(name_of(theirs.algorithm)));
  if (mine.collective == Collective::hand && mine.order != theirs.order)
    return say("who takes", ranks_text(mine.order), ranks_text(theirs.order));
  if (mine.slice_elements != theirs.slice_elements || mine.shares != theirs.shares ||
      mine.order != theirs.order)
    return say("the cut", cut_text(mine.slice_elements, mine.shares, mine.order),
               cut_text(theirs.slice_elements, theirs.shares, theirs.order));
  return "";
}

}  // namespace isthmus
