// A world's plan in words.
#include <algorithm>
#include <array>
#include <cstdio>

#include "simulation/plan.hpp"

namespace isthmus {
namespace {

std::string decimal(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.3f", value);
  return text.data();
}

std::string seconds(std::int64_t ns) {
  return decimal(static_cast<double>(ns) / static_cast<double>(second_ns)) + " s";
}

std::string say(const TroublePlan& t, const WorldPlan& plan) {
  constexpr std::array lies = {"offset", "length",          "transfer",          "operation",
                               "source", "bytes (garbage)", "frames, sent twice"};
  const std::string site = plan.sites[static_cast<std::size_t>(t.site)].name;
  const std::string peer = plan.sites[static_cast<std::size_t>(t.peer)].name;
  const std::string during = t.for_ns == never_ns ? " for ever" : " for " + seconds(t.for_ns);
  const std::string at = "at " + seconds(t.at_ns) + ": ";
  switch (t.kind) {
    case Trouble::kill:
      return at + site + " is killed";
    case Trouble::freeze:
      return at + site + " freezes" + during;
    case Trouble::cut:
      return at + "nothing passes between " + site + " and " + peer + during;
    case Trouble::isolate:
      return at + "nothing passes between " + site + " and the others" + during;
    case Trouble::clog:
      return at + "one stream from " + site + " to " + peer + " stands still" + during;
    case Trouble::slow:
      return at + site + " is " + std::to_string(t.factor) + " times as slow" + during;
    case Trouble::truncate:
      return at + "one stream between " + site + " and " + peer + " breaks";
    case Trouble::corrupt:
      return at + "a byte from " + site + " to " + peer + " arrives changed";
    case Trouble::lie:
      return at + site + " lies from now on: " + lies[static_cast<std::size_t>(t.lie)];
    case Trouble::leave:
      return at + site + " leaves";
    case Trouble::absent:
      return site + " never comes";
    case Trouble::coordinator_killed:
      return at + "the coordinator is killed";
    case Trouble::reset:
      return at + "one data stream between " + site + " and " + peer + " is reset";
    case Trouble::silence:
      return at + "one data stream between " + site + " and " + peer + " falls silent";
    case Trouble::payload:
      return at + "a byte of a data stream from " + site + " to " + peer + " arrives changed";
    case Trouble::control:
      return at + "the control stream between " + site + " and " + peer + " is reset";
  }
  return {};
}

std::string say(const OperationPlan& operation, const WorldPlan& plan) {
  std::string text(name_of(operation.collective));
  text += " of " + std::to_string(operation.elements);
  if (operation.collective == Collective::all_reduce) {
    text += " elements, " + std::string(name_of(operation.algorithm)) +
            (operation.mean ? ", mean, " : ", sum, ") +
            cut_text(operation.slice_elements, operation.shares, operation.order);
    for (const SegmentPlan& segment : operation.segments)
      text += ", " + std::to_string(segment.elements) + " " + segment.up + "/" + segment.down;
  } else {
    text += " bytes";
  }
  const auto [first, last] = std::ranges::minmax(operation.submit_ns);
  text += ", begun between " + seconds(first) + " and " + seconds(last);
  if (operation.odd_site >= 0)
    text += "; " + plan.sites[static_cast<std::size_t>(operation.odd_site)].name +
            " asks for something else";
  return text;
}

}  // namespace

std::vector<std::string> describe(const WorldPlan& plan) {
  std::vector<std::string> out;
  std::string who;
  for (const SitePlan& site : plan.sites) who += (who.empty() ? "" : ", ") + site.name;
  out.push_back(std::to_string(plan.sites.size()) + " sites: " + who);
  out.push_back("heartbeat timeout " + seconds(plan.heartbeat_timeout_ns) + ", timeout " +
                seconds(plan.timeout_ns) + ", loss " + decimal(plan.loss * 100) + " %, jitter " +
                seconds(plan.jitter_ns) + ", " + std::to_string(plan.strangers) + " strangers");
  for (const SitePlan& site : plan.sites)
    if (!site.listens) out.push_back(site.name + " does not listen");
  for (const SitePlan& site : plan.sites)
    if (!site.relays) out.push_back(site.name + " lets nothing be relayed");
  for (const BlockPlan& block : plan.blocks)
    out.push_back(plan.sites[static_cast<std::size_t>(block.from)].name + " cannot connect to " +
                  plan.sites[static_cast<std::size_t>(block.to)].name +
                  (block.refuses ? ": refused" : ": no answer"));
  for (std::size_t i = 0; i < plan.operations.size(); ++i)
    out.push_back("operation " + std::to_string(i + 1) + ": " + say(plan.operations[i], plan));
  out.push_back("operations' times count from " + seconds(plan.begin_ns()));
  for (const StreamsPlan& change : plan.streams)
    out.push_back("at " + seconds(change.at_ns) + ": " + std::to_string(change.count) +
                  " data streams between " +
                  plan.sites[static_cast<std::size_t>(change.site)].name + " and " +
                  plan.sites[static_cast<std::size_t>(change.peer)].name);
  if (plan.on_loss == OnLoss::carry_on)
    out.push_back("sites carry on after a loss" +
                  (plan.favourite < 0
                       ? std::string()
                       : ", " + plan.sites[static_cast<std::size_t>(plan.favourite)].name +
                             " with half of them"));
  for (const TroublePlan& trouble : plan.troubles) out.push_back(say(trouble, plan));
  return out;
}

}  // namespace isthmus
