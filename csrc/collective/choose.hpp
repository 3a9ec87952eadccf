// choose: which schedule an operation takes when the user says "auto". Pure, and the same at every
// site.
#pragma once

#include "base/status.hpp"
#include "codecs/codec.hpp"
#include "collective/schedule.hpp"

namespace isthmus {

struct Choice {
  int world;
  std::uint64_t elements;
  const codecs::Codec* up;
  const codecs::Codec* down;
};

Algorithm choose(const Choice& choice);

// Refuses, with the reason, a schedule that the codec cannot take.
Status check_schedule(Algorithm algorithm, const Choice& choice);

std::string_view name_of(Algorithm algorithm);

}  // namespace isthmus
