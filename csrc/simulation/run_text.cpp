// A run's plan in words.
#include <array>
#include <cstdio>

#include "simulation/run_plan.hpp"
#include "simulation/strike.hpp"

namespace isthmus {
namespace {

std::string seconds(std::int64_t ns) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.4f s",
                static_cast<double>(ns) / static_cast<double>(second_ns));
  return text.data();
}

std::string say(const BlowPlan& blow, const RunPlan& plan) {
  const TroublePlan& what = blow.what;
  const auto name = [&](int site) {
    return site == plan.world.world() ? "the coordinator"
                                      : plan.world.sites[static_cast<std::size_t>(site)].name;
  };
  std::string text = "at " + seconds(what.at_ns);
  if (blow.after != Milestone::none)
    text = seconds(what.at_ns) + " after \"" + name_of(blow.after) + "\" number " +
           std::to_string(blow.nth);
  text += std::string(": ") + name_of(what.kind);
  if (what.kind != Trouble::coordinator_killed)
    text += " " + (blow.there ? "the site that has passed it" : name(what.site));
  const bool of_pair = what.kind == Trouble::cut || what.kind == Trouble::truncate ||
                       what.kind == Trouble::corrupt || what.kind == Trouble::clog ||
                       is_of_a_stream(what.kind);
  if (of_pair) text += " and " + name(what.peer);
  const bool at_once = what.kind == Trouble::kill || what.kind == Trouble::truncate ||
                       what.kind == Trouble::corrupt || is_of_a_stream(what.kind);
  if (!at_once) text += " for " + seconds(what.for_ns);
  return text;
}

}  // namespace

std::vector<std::string> describe(const RunPlan& plan) {
  std::vector<std::string> out = describe(plan.world);
  out.push_back(
      std::string("on_loss ") + (plan.world.on_loss == OnLoss::wait ? "wait" : "continue") +
      (plan.world.favourite < 0
           ? std::string()
           : ", favourite " +
                 plan.world.sites[static_cast<std::size_t>(plan.world.favourite)].name) +
      (plan.world.min_sites > 1 ? ", min_sites " + std::to_string(plan.world.min_sites) : "") +
      (plan.serves ? ", " + plan.world.sites[0].name + " serves" : std::string()) +
      (plan.fixed_ports ? ", fixed ports" : ", any port") +
      (plan.orderly ? ", closes when it fails" : "") +
      (plan.checks ? ", compares at every step" : ""));
  out.push_back(std::to_string(plan.operations) + " operations a step, of " +
                std::to_string(plan.elements) + " elements at most; " +
                std::to_string(plan.parameters) + " parameters");
  for (std::size_t site = 0; site < plan.lives.size(); ++site)
    if (plan.lives[site] >= 0)
      out.push_back(plan.world.sites[site].name + " has " + std::to_string(plan.lives[site]) +
                    " processes, and then no more");
  for (const BlowPlan& blow : plan.blows) out.push_back(say(blow, plan));
  return out;
}

}  // namespace isthmus
