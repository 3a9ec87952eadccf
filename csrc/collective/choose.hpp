// choose: which schedule an operation takes when the user says "auto". Pure, and the same at every
// site.
#pragma once

#include "base/status.hpp"
#include "collective/format.hpp"

namespace isthmus {

Algorithm choose(int world, const Format& format);

// Refuses, with the reason, a schedule that a codec cannot take.
Status check_schedule(Algorithm algorithm, const Format& format);

std::string_view name_of(Algorithm algorithm);

}  // namespace isthmus
