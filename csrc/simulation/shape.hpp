// Shape: what a world's plan says of the net between its sites.
#pragma once

#include "net/sim.hpp"
#include "simulation/plan.hpp"

namespace isthmus {

// Hosts: the sites, the coordinator, the strangers.
SimSettings settings_for(const WorldPlan& plan, int log_events);
// Rates, delays, and who cannot connect to whom.
void shape(SimNet& net, const WorldPlan& plan);

}  // namespace isthmus
