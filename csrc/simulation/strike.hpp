// strike: what goes wrong in the simulator, for all that play a plan.
#pragma once

#include "simulation/plan.hpp"

namespace isthmus {

// Now; `at_ns` is the caller's. A kill is that of the host alone: whoever plays it keeps book of
// who lives. `patience_ns`: of a kernel whose bytes nobody acknowledges. Where the pair has no such
// stream at the moment, nothing happens.
// REQUIRES: a kind that a host or a stream can suffer: not lie, leave, absent, coordinator_killed.
void strike(SimNet& net, const TroublePlan& what, std::int64_t patience_ns);

// It strikes one data stream, or any one: once all have joined nobody is to notice.
bool is_of_data(Trouble kind);
bool is_of_a_stream(Trouble kind);

}  // namespace isthmus
