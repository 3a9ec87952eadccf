// tampering: what changes frames on their way so that they are well formed still.
#pragma once

#include <functional>
#include <vector>

#include "net/sim.hpp"
#include "simulation/run_plan.hpp"

namespace isthmus {

// Calls for what may be a whole header in a segment, with its place; it returns where to look on.
void each_frame(const std::vector<std::byte>& segment,
                const std::function<std::ptrdiff_t(std::ptrdiff_t at)>& call);

// Mistakes in what links do, made by who changes their frames. What a segment cuts stays as it is.
bool is_on_the_wire(Sabotage kind);
Tamper make_saboteur(Sabotage kind, std::function<void()> made);

}  // namespace isthmus
