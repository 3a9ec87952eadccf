// Sums: what an operation of a world must end with, computed apart from all that is tested.
#pragma once

#include <string>

#include "simulation/plan.hpp"

namespace isthmus {

// What is wrong with the result of an operation to which these sites contributed, in the order of
// their ranks; "" : nothing. Sums are compared to the bit, but for a ring's.
std::string wrong_in(const WorldPlan& plan, std::size_t operation,
                     const std::vector<int>& contributors, const std::vector<std::byte>& result);

}  // namespace isthmus
