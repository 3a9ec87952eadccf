// Tour: in which order a ring goes round the sites, and how long it takes. Pure, as paths.hpp.
#pragma once

#include "collective/paths.hpp"

namespace isthmus {

// As the others of paths.hpp. REQUIRES: sound(paths), and `order` is one of its sites or none.
double ring_seconds(const Paths& paths, const Load& load, double slice, const Order& order);

// The order that takes least: of up to 8 sites the best of all, of more the best that small changes
// find. Empty where the order of the ranks is as good, but for a twentieth. REQUIRES: sound(paths).
Order best_order(const Paths& paths, const Load& load, double slice);

}  // namespace isthmus
