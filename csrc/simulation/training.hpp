// Training: what the sites of a run do with their sums, and what they hand over: a model that
// shows every contribution that it is made of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mesh/site_set.hpp"
#include "simulation/run_plan.hpp"

namespace isthmus {

// One session of a run, at whichever site.
struct EpochKey {
  std::uint64_t run = 0;  // as the coordinator numbered it: another one when all began anew
  std::uint32_t epoch = 0;
  friend auto operator<=>(const EpochKey&, const EpochKey&) = default;
};

struct Training {
  std::uint64_t step = 0;   // that follows
  std::uint64_t chain = 0;  // a hash of all that was added
  std::vector<float> parameters;

  std::uint64_t digest() const;  // never 0
  // One operation's result. Another order of the operations of a step makes another model.
  void add(SiteSet contributors, const std::vector<float>& result);
};

Training begin_training(const RunPlan& plan);
std::vector<std::byte> to_payload(const Training& training);
std::optional<Training> parse_training(ByteView payload);

// An operation of a run, as the only one of a world: the same at all sites of the epoch.
WorldPlan scene_of(const RunPlan& plan, EpochKey key, std::uint64_t number,
                   const std::vector<std::string>& sites);
std::uint64_t hash_of(ByteView bytes);

}  // namespace isthmus
