// What Python names, codecs, segments and schedules, as the core knows them; refused in words if
// there is no such thing.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "collective/choose.hpp"

namespace isthmus {

// (codec up, codec down, elements) of each.
using SegmentNames = std::vector<std::tuple<std::string, std::string, std::uint64_t>>;

const codecs::Codec* codec_named(const std::string& name);
std::vector<Segment> segments_named(const SegmentNames& names, std::uint64_t fewest = 1);
// None: "auto". Refused, too, where a codec cannot take the schedule.
std::optional<Algorithm> algorithm_named(const std::string& name, const Format& format);

}  // namespace isthmus
