#include "bind/segments.hpp"

#include "bind/errors.hpp"
#include "session/request.hpp"

namespace isthmus {

const codecs::Codec* codec_named(const std::string& name) {
  const codecs::Codec* codec = codecs::find(name);
  if (codec != nullptr) return codec;
  std::string known;
  for (const codecs::Codec& c : codecs::all())
    known += (known.empty() ? "" : ", ") + std::string(c.name);
  raise(refused("no codec \"" + name + "\"; there are: " + known));
}

std::vector<Segment> segments_named(const SegmentNames& names, std::uint64_t fewest) {
  constexpr std::uint64_t most_elements = std::uint64_t{1} << 48;
  if (names.size() > max_segments)
    raise(refused("a wire has at most " + std::to_string(max_segments) + " segments, not " +
                  std::to_string(names.size())));
  std::vector<Segment> segments;
  for (const auto& [up, down, elements] : names) {
    if (elements < fewest || elements > most_elements)
      raise(refused("a segment of " + std::to_string(elements) + " elements"));
    segments.push_back({.up = codec_named(up), .down = codec_named(down), .elements = elements});
  }
  return segments;
}

std::optional<Algorithm> algorithm_named(const std::string& name, const Format& format) {
  if (name == "auto") return std::nullopt;
  for (const Algorithm a : {Algorithm::direct, Algorithm::gather, Algorithm::ring})
    if (name_of(a) == name) {
      if (auto s = check_schedule(a, format); !s.ok()) raise(s);
      return a;
    }
  raise(refused("no schedule \"" + name + "\"; there are: auto, direct, gather, ring"));
}

}  // namespace isthmus
