#include "simulation/history.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "simulation/sums.hpp"

namespace isthmus {
namespace {

constexpr std::size_t most_complaints = 20;

std::string text_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

SiteSet contributors_of(const Outcome& outcome) {
  SiteSet contributors;
  for (const int rank : outcome.contributors) contributors = contributors | SiteSet::of(rank);
  return contributors;
}

std::string History::title(int process) const {
  const Process& p = processes_[static_cast<std::size_t>(process)];
  return plan_.world.sites[static_cast<std::size_t>(p.site)].name + "/" + std::to_string(p.life);
}

std::string History::title(int process, OperationKey key) const {
  return "operation " + std::to_string(key.number) + " of epoch " +
         std::to_string(key.epoch.epoch) + " at " + title(process);
}

void History::tell(int process, const std::string& what) {
  std::array<char, 32> when;
  std::snprintf(when.data(), when.size(), "%8.3f s ",
                static_cast<double>(now_ns_) / static_cast<double>(second_ns));
  lines_.push_back(when.data() + (process < 0 ? what : title(process) + " " + what));
}

void History::complain(const std::string& what) {
  if (broken_.size() < most_complaints) broken_.push_back(what);
  tell(-1, "BROKEN: " + what);
}

int History::comes(int site) {
  lives_.resize(plan_.world.sites.size());
  const int life = ++lives_[static_cast<std::size_t>(site)];
  processes_.push_back({.site = site, .life = life});
  const int process = static_cast<int>(processes_.size()) - 1;
  tell(process, "comes");
  return process;
}

void History::goes(int process, const std::string& why) {
  processes_[static_cast<std::size_t>(process)].gone_ns = now_ns_;
  tell(process, why);
}

// What may be the end of a process, and what must not. While sites train, who is lost is noticed
// long before an operation without progress times out.
void History::fails(int process, const Status& why, bool trains) {
  tell(process, "fails: " + why.text);
  if (why.code == Code::internal_error || (why.code == Code::wire_error && !damaged_) ||
      (why.code == Code::timeout && trains))
    complain(title(process) + " fails: \"" + why.text + "\"");
}

void History::hears_of(int process, const std::string& why) {
  tell(process, "hears: " + why);
  if (!damaged_ && why.find("broke the protocol") != std::string::npos)
    complain(title(process) + " hears: \"" + why + "\"");
}

void History::stands(int process, EpochKey key, const std::vector<std::string>& sites) {
  const auto [first, fresh] = rosters_.try_emplace(key, sites);
  tell(process, "stands in epoch " + std::to_string(key.epoch) + ": " + text_of(sites));
  if (!fresh && first->second != sites)
    complain(title(process) + " takes epoch " + std::to_string(key.epoch) + " for one of " +
             text_of(sites) + ", others for one of " + text_of(first->second));
}

void History::begins(int, OperationKey key, int rank) {
  begun_[key] = begun_[key] | SiteSet::of(rank);
}

void History::says(int process, OperationKey key, int rank, const std::vector<std::byte>& payload) {
  begins(process, key, rank);
  said_[key][rank] = payload;
}

void History::ends(int process, OperationKey key, Ended ended) {
  const std::uint64_t hash = hash_of(ended.result);
  compare(process, key, ended, hash);
  check_sum(process, key, ended, hash);
}

// The payloads are those of the contributors, unchanged.
void History::hears(int process, OperationKey key, const Outcome& outcome, SiteSet roster) {
  Ended ended{.roster = roster, .contributors = contributors_of(outcome)};
  for (std::size_t one = 0; one < outcome.gathered.size(); ++one) {
    const auto& heard = outcome.gathered[one];
    ended.result.insert(ended.result.end(), heard.begin(), heard.end());
    const auto& said = said_[key];
    const auto found = said.find(static_cast<int>(one));
    const bool counts = ended.contributors.has(static_cast<int>(one));
    if (counts ? found == said.end() || found->second != heard : !heard.empty())
      complain(title(process, key) + " has not what rank " + std::to_string(one) + " said");
  }
  compare(process, key, ended, hash_of(ended.result));
}

void History::compare(int process, OperationKey key, const Ended& ended, std::uint64_t hash) {
  if (!ended.roster.within(ended.contributors))
    complain(title(process, key) + " lacks the contribution of a site that takes part");
  if (!ended.contributors.within(begun_[key]))
    complain(title(process, key) + " counts a site that has not begun it");
  const Result result{ended.contributors, hash};
  const auto [first, fresh] =
      by_roster_.try_emplace({key, ended.roster.bits()}, std::pair(process, result));
  if (!fresh && first->second.second != result)
    complain(title(process, key) + " has not the same bits or contributors as at " +
             title(first->second.first));
  Part& part = parts_[{key.epoch, process}];
  part.roster = ended.roster;
  part.results[key.number] = result;
}

// To the bit (a ring's within its roundings) what the contributors brought, each once.
void History::check_sum(int process, OperationKey key, const Ended& ended, std::uint64_t hash) {
  if (!sums_.emplace(key, ended.contributors.bits(), hash).second) return;
  const WorldPlan scene = scene_of(plan_, key.epoch, key.number, rosters_[key.epoch]);
  const std::string wrong = wrong_in(scene, 0, ended.contributors.ranks(), ended.result);
  if (!wrong.empty()) complain(title(process, key) + wrong);
}

void History::applies(int process, OperationKey last, std::uint64_t step, std::uint64_t before,
                      std::uint64_t after) {
  const auto [found, fresh] = steps_.try_emplace(
      after, Step{.before = before, .number = step + 1, .last = last, .first_ns = now_ns_});
  deepest_ = std::max(deepest_, step + 1);
  found->second.holders.insert(process);
  if (found->second.before != before)
    complain(title(process) + " came to the state after step " + std::to_string(step) +
             " from another one than others");
}

void History::holds(int process, std::uint64_t step, std::uint64_t digest) {
  tell(process, "holds the state before step " + std::to_string(step));
  const auto [found, fresh] = steps_.try_emplace(digest, Step{.number = step, .first_ns = now_ns_});
  found->second.holders.insert(process);
  if (found->second.number != step)
    complain(title(process) + " takes a state for that of step " + std::to_string(step));
  if (fresh && step != 0)
    complain(title(process) + " holds a state before step " + std::to_string(step) +
             " that nobody has made");
}

void History::judge_end(const std::vector<std::uint64_t>& digests) {
  judge_rosters();
  // The furthest one's way here.
  std::vector<std::uint64_t> chain;
  for (const std::uint64_t digest : digests)
    if (chain.empty() || steps_[digest].number > steps_[chain.front()].number) chain = {digest};
  if (chain.empty()) return;
  while (steps_[chain.back()].before != 0) chain.push_back(steps_[chain.back()].before);
  for (const std::uint64_t digest : digests)
    if (std::ranges::find(chain, digest) == chain.end())
      complain("of the sites that train together at the end one holds another state before step " +
               std::to_string(steps_[digest].number));
  std::ranges::reverse(chain);
  judge_chain(chain);
  judge_sides(chain);
}

// Whoever was in the same roster last has the same results.
void History::judge_rosters() {
  std::map<std::pair<EpochKey, std::uint64_t>, std::map<std::uint64_t, Result>> together;
  for (const auto& [who, part] : parts_)
    for (const auto& [number, result] : part.results) {
      auto& all = together[{who.first, part.roster.bits()}];
      if (const auto [first, fresh] = all.try_emplace(number, result);
          !fresh && first->second != result)
        complain(title(who.second, {who.first, number}) +
                 " is not as at others with which it went on");
    }
}

// Every step once, and no operation twice.
void History::judge_chain(const std::vector<std::uint64_t>& chain) {
  if (steps_[chain.front()].number != 0) complain("the model that is left has no beginning");
  for (std::size_t i = 1; i < chain.size(); ++i) {
    const Step& step = steps_[chain[i]];
    const Step& before = steps_[chain[i - 1]];
    if (step.number != before.number + 1)
      complain("in the model that is left step " + std::to_string(before.number) + " is missing");
    if (i > 1 && step.last.epoch == before.last.epoch && step.last.number <= before.last.number)
      complain("in the model that is left an operation counts twice");
  }
}

// Where others had gone on from a state that did not become the model's, they had no more than the
// step in which the loss fell and the next one; or they were all gone when it was gone on from
// there. (docs/decisions/0016-epochs.md)
void History::judge_sides(const std::vector<std::uint64_t>& chain) {
  constexpr int most_steps_aside = 2;
  const std::set<std::uint64_t> kept(chain.begin(), chain.end());
  for (const auto& [digest, step] : steps_) {
    int aside = 0;
    std::uint64_t at = digest;
    for (; at != 0 && !kept.contains(at); at = steps_[at].before) aside += steps_[at].before != 0;
    if (aside <= most_steps_aside) continue;
    // Those steps the site that gave its state may have done aside too, before.
    const auto fork = std::ranges::find(chain, at);
    const auto ahead = fork == chain.end() ? chain.end() - chain.begin() : chain.end() - fork;
    const bool went_on = ahead > most_steps_aside + 1;
    const std::int64_t went_on_ns =
        went_on
            ? steps_[chain[chain.size() - static_cast<std::size_t>(ahead) + most_steps_aside + 1]]
                  .first_ns
            : never_ns;
    for (const int holder : step.holders)
      if (processes_[static_cast<std::size_t>(holder)].gone_ns > went_on_ns)
        return complain("two sides went on: " + title(holder) + " did step " +
                        std::to_string(step.number - 1) + " apart from the model that is left");
  }
}

}  // namespace isthmus
