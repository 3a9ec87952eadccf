#include "simulation/shape.hpp"

namespace isthmus {

SimSettings settings_for(const WorldPlan& plan, int log_events) {
  SimSettings settings;
  settings.sites = plan.world() + 2;  // the coordinator, and the strangers
  settings.seed = plan.seed;
  settings.torn = plan.torn;
  settings.window_bytes = plan.window_bytes;
  settings.max_segment_bytes = plan.max_segment_bytes;
  settings.log_events = log_events;
  return settings;
}

void shape(SimNet& net, const WorldPlan& plan) {
  const int world = plan.world();
  for (int site = 0; site < world; ++site) {
    const SitePlan& self = plan.sites[static_cast<std::size_t>(site)];
    net.set_rates(site, self.up_bits_per_s, self.down_bits_per_s);
    for (int peer = site + 1; peer < world; ++peer)
      net.set_path(site, peer, plan.latency_ns[static_cast<std::size_t>(site * world + peer)],
                   plan.jitter_ns, plan.loss);
  }
  for (const BlockPlan& block : plan.blocks) net.block(block.from, block.to, block.refuses);
}

}  // namespace isthmus
