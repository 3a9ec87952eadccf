#include "session/boundary.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "mesh/membership.hpp"

namespace isthmus {
namespace {

// Whose value is not the one that most have; of two as common ones the lowest rank's counts.
template <class Value>
SiteSet odd_ones(const std::vector<std::pair<int, Value>>& values) {
  std::map<Value, SiteSet> by_value;
  SiteSet all;
  for (const auto& [rank, value] : values) {
    by_value[value] = by_value[value] | SiteSet::of(rank);
    all = all | SiteSet::of(rank);
  }
  SiteSet most;
  for (const auto& [value, ranks] : by_value) {
    const bool lower = !most.empty() && ranks.ranks().front() < most.ranks().front();
    if (ranks.size() > most.size() || (ranks.size() == most.size() && lower)) most = ranks;
  }
  return all - most;
}

// What it has done, and with whom: of two sites with the same the states are the same.
auto history_of(const Answer& answer) {
  return std::tuple(answer.step, answer.members.size(), answer.members.bits());
}

// By which the best is the donor.
auto worth_of(const Answer& answer) {
  return std::tuple(answer.epoch, -answer.lawful.size(), history_of(answer));
}

// Of the last lawful roster of one that was stuck.
bool enough_are_here(const Answer& stuck, const std::vector<std::optional<Answer>>& answers,
                     int favourite) {
  Muster muster;
  if (favourite != no_favourite) muster.favourite = Muster::Favourite::absent;
  for (const int rank : stuck.here.ranks()) {
    if (static_cast<std::size_t>(rank) >= answers.size()) continue;
    const auto& answer = answers[static_cast<std::size_t>(rank)];
    if (!answer) continue;
    ++(answer->has_state ? muster.stuck : muster.replaced);
    if (rank == favourite)
      muster.favourite = answer->has_state ? Muster::Favourite::stuck : Muster::Favourite::replaced;
  }
  muster.absent = stuck.lawful.size() - muster.stuck - muster.replaced;
  return muster.may_go_on();
}

bool same_state(const Answer& a, const Answer& b) {
  return a.has_state && b.has_state && a.epoch == b.epoch && history_of(a) == history_of(b);
}

}  // namespace

Decision decide(const std::vector<std::optional<Word>>& words) {
  std::vector<std::pair<int, std::pair<std::uint64_t, std::uint64_t>>> states;
  std::optional<std::uint32_t> epoch;
  bool same_epoch = true;
  for (std::size_t rank = 0; rank < words.size(); ++rank) {
    if (!words[rank]) continue;
    const Word& word = *words[rank];
    states.push_back({static_cast<int>(rank), {word.step, word.digest}});
    same_epoch = same_epoch && epoch.value_or(word.epoch) == word.epoch;
    epoch = word.epoch;
  }
  const SiteSet odd = odd_ones(states);
  if (!odd.empty()) return {.verdict = Decision::Verdict::differ, .epoch = 0, .odd = odd};
  if (!same_epoch || epoch.value_or(0) == 0) return {};
  return {.verdict = Decision::Verdict::change_over, .epoch = *epoch, .odd = {}};
}

SiteSet without_state(const std::vector<std::optional<Word>>& words) {
  SiteSet without;
  for (std::size_t rank = 0; rank < words.size(); ++rank)
    if (words[rank] && words[rank]->digest == 0)
      without = without | SiteSet::of(static_cast<int>(rank));
  return without;
}

HandOver plan_hand_over(const std::vector<std::optional<Answer>>& answers, int favourite) {
  const auto at = [&](int rank) -> const Answer& {
    return *answers[static_cast<std::size_t>(rank)];
  };
  HandOver plan;
  for (int rank = 0; rank < static_cast<int>(answers.size()); ++rank) {
    if (!answers[static_cast<std::size_t>(rank)] || !at(rank).has_state) continue;
    const auto better = [&](const Answer& mine, const Answer& best) {
      return worth_of(mine) > worth_of(best) ||
             (worth_of(mine) == worth_of(best) && mine.busy < best.busy);
    };
    if (plan.donor < 0 || better(at(rank), at(plan.donor))) plan.donor = rank;
  }
  if (plan.donor < 0) return plan;
  if (at(plan.donor).stuck() && !enough_are_here(at(plan.donor), answers, favourite))
    return {.donor = HandOver::too_few};
  for (int rank = 0; rank < static_cast<int>(answers.size()); ++rank) {
    if (!answers[static_cast<std::size_t>(rank)]) continue;
    if (!same_state(at(rank), at(plan.donor)))
      plan.takers.push_back(static_cast<std::uint16_t>(rank));
  }
  return plan;
}

std::vector<std::byte> to_payload(const Word& word) {
  return Writer().put(word.step).put(word.epoch).put(word.digest).take();
}

std::vector<std::byte> to_payload(const Answer& answer) {
  return Writer()
      .put(static_cast<std::uint8_t>(answer.has_state ? 1 : 0))
      .put(answer.step)
      .put(answer.epoch)
      .put(answer.members.bits())
      .put(answer.lawful.bits())
      .put(answer.here.bits())
      .put(answer.busy)
      .take();
}

std::optional<Word> parse_word(ByteView payload) {
  Reader in(payload);
  Word word;
  word.step = in.get<std::uint64_t>();
  word.epoch = in.get<std::uint32_t>();
  word.digest = in.get<std::uint64_t>();
  if (!in.ended()) return std::nullopt;
  return word;
}

std::optional<Answer> parse_answer(ByteView payload) {
  Reader in(payload);
  Answer answer;
  answer.has_state = in.get<std::uint8_t>() != 0;
  answer.step = in.get<std::uint64_t>();
  answer.epoch = in.get<std::uint32_t>();
  answer.members = SiteSet(in.get<std::uint64_t>());
  answer.lawful = SiteSet(in.get<std::uint64_t>());
  answer.here = SiteSet(in.get<std::uint64_t>());
  answer.busy = in.get<std::uint32_t>();
  if (!in.ended() || answer.here.size() > answer.lawful.size()) return std::nullopt;
  return answer;
}

}  // namespace isthmus
