// Boundary: what sites tell each other between two steps, and what follows from it. Pure: bytes
// that all of them have alike go in, so all of them conclude the same.
//
// At the boundary before a step every site gathers a Word; one boundary later it reads what all
// said. In a new epoch, before anything else, every site gathers an Answer: who brings the state,
// and who lacks it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "collective/schedule.hpp"
#include "mesh/site_set.hpp"

namespace isthmus {

struct Word {
  std::uint64_t step = 0;    // that follows
  std::uint32_t epoch = 0;   // that this site is ready to change over to; 0: none
  std::uint64_t digest = 0;  // of the training's state; 0: it was not looked at
  friend bool operator==(const Word&, const Word&) = default;
};

struct Decision {
  enum class Verdict : std::uint8_t {
    go_on,
    change_over,  // to `epoch`, at this boundary
    differ,       // `odd` are at another step than most, or hold another state
  } verdict = Verdict::go_on;
  std::uint32_t epoch = 0;
  SiteSet odd{};
};

// By rank; none: of a site that is lost. REQUIRES: at most max_sites.
Decision decide(const std::vector<std::optional<Word>>& words);

// Who holds no state to compare yet. By rank; none: of a site that is lost.
SiteSet without_state(const std::vector<std::optional<Word>>& words);

// What a site brings to a new epoch. Two sites of the same step, epoch and members hold the same
// state: what they have finished they finished together. A site that was stuck may be further than
// those who went on lawfully, for their roster is the smaller one (docs/decisions/0016-epochs.md).
struct Answer {
  bool has_state = false;
  std::uint64_t step = 0;   // that follows
  std::uint32_t epoch = 0;  // in which it did the last one
  SiteSet members{};        // who took part when that was done, by that epoch's ranks
  SiteSet lawful{};         // the last that were enough to go on there, by the same ranks
  SiteSet here{};           // those of them who are called to the new epoch, by its ranks
  std::uint32_t busy = 0;   // in thousandths of its time: it kept the others waiting, not they it
  // Too few of them were left in its last step.
  bool stuck() const { return !lawful.within(members); }
  friend bool operator==(const Answer&, const Answer&) = default;
};

struct HandOver {
  static constexpr int nobody = -1;   // has a state
  static constexpr int too_few = -2;  // are here of those who might go on from the best one
  int donor = nobody;
  Order takers{};  // who are handed the donor's, by rank
};

// The donor is of the latest epoch and, in it, of the smallest lawful roster; of those it is the
// least busy of the furthest; of those that are as far with different members, of the ones who were
// more. One that was stuck gives only where enough of its last lawful roster, or others under their
// names, are here: else some of them may be going on without it. By rank; none: of a site that is
// lost. `favourite`: a rank of the new epoch, or one of these.
constexpr int no_favourite = -1, favourite_elsewhere = -2;
HandOver plan_hand_over(const std::vector<std::optional<Answer>>& answers,
                        int favourite = no_favourite);

std::vector<std::byte> to_payload(const Word& word);
std::vector<std::byte> to_payload(const Answer& answer);
std::optional<Word> parse_word(ByteView payload);
std::optional<Answer> parse_answer(ByteView payload);

}  // namespace isthmus
