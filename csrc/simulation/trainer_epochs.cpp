// Trainer's part in a new epoch: the call, the change over, and who hands the state to whom.
#include <algorithm>

#include "simulation/trainer.hpp"

namespace isthmus {
namespace {

constexpr std::size_t chunks_in_flight = 4;

std::string favourite_of(const RunPlan& plan) {
  const int site = plan.world.favourite;
  return site < 0 ? "" : plan.world.sites[static_cast<std::size_t>(site)].name;
}

std::vector<std::optional<Answer>> answers_in(const Outcome& outcome) {
  std::vector<std::optional<Answer>> answers;
  for (const auto& payload : outcome.gathered)
    answers.push_back(payload.empty() ? std::nullopt : parse_answer(payload));
  return answers;
}

}  // namespace

// The call that came last, once what was there before has made way for it.
void Trainer::mind_calls() {
  if (!listens_ || joining_ != nullptr || stage_ == Stage::over) return;
  followed_ = std::max(followed_, current_->engine->epoch());
  const Call* call = current_->engine->call();
  if (call == nullptr || call->epoch <= followed_) return;
  if (next_ != nullptr && !told_) give_up_next();
  if (next_ != nullptr) return;
  followed_ = call->epoch;
  around_.history.tell(process_, "follows the call to epoch " + std::to_string(call->epoch));
  around_.pass(Milestone::called, site_);
  if (plan_.fixed_ports) current_->engine->stop_listening();
  if (auto s = take_seat(joining_, *call, plan_.world.timeout_ns); !s.ok())
    current_->engine->attend(Standing::training, call->epoch);
}

bool Trainer::mind_next() {
  if (joining_ == nullptr) return false;
  if (!std::exchange(joining_->met, joining_->engine->roster() != nullptr) && joining_->met)
    around_.pass(Milestone::met, site_);
  if (!joining_->joined->done()) return false;
  if (const Status& status = joining_->joined->outcome().status; !status.ok()) {
    around_.history.tell(process_, "could not join the next epoch: " + status.text);
    current_->engine->attend(Standing::training, joining_->engine->epoch());
    leave(std::move(joining_));
    return true;
  }
  stand(*joining_);
  around_.pass(Milestone::ready, site_);
  joining_->engine->attend(Standing::ready, 0);
  next_ = std::move(joining_);
  told_ = withdrawn_ = false;
  return true;
}

// The epoch that it says it is ready for; what was said at one boundary binds until the next.
std::uint32_t Trainer::ready() {
  listens_ = true;
  if (next_ == nullptr) return 0;
  if (next_->engine->whole() && !withdrawn_) {
    told_ = true;
    return next_->engine->epoch();
  }
  if (told_ && !withdrawn_)
    withdrawn_ = true;
  else
    give_up_next();
  return 0;
}

void Trainer::give_up_next() {
  around_.history.tell(process_, "gives up epoch " + std::to_string(next_->key.epoch));
  current_->engine->attend(Standing::training, next_->engine->epoch());
  leave(std::move(next_));
  told_ = withdrawn_ = false;
}

void Trainer::change_over() {
  mine_ = {.has_state = true,
           .step = training_->step,
           .epoch = current_->engine->epoch(),
           .members = current_->engine->present(),
           .lawful = current_->engine->lawful()};
  if (next_ == nullptr) return end(internal_error("there is no epoch to change over to"));
  for (const int rank : mine_.lawful.ranks())
    mine_.here = mine_.here | next_->rank_of(current_->names[static_cast<std::size_t>(rank)]);
  if (strikes(Sabotage::forgotten_step) && before_) {
    around_.sabotaged();
    before_->step = training_->step;
    training_ = before_;
  }
  previous_ = std::move(current_);
  current_ = std::move(next_);
  told_ = withdrawn_ = listens_ = missed_ = false;
  current_->engine->attend(Standing::training, 0);
  around_.history.tell(process_, "changes over to epoch " + std::to_string(current_->key.epoch));
  around_.pass(Milestone::changed, site_);
  answer();
}

void Trainer::answer() {
  waits_ = {gather(to_payload(mine_))};
  stage_ = Stage::answering;
}

bool Trainer::hear_answers() {
  if (!settled()) return stage_ == Stage::over;
  const SiteSet favourite = current_->rank_of(favourite_of(plan_));
  hand_over_ = plan_hand_over(answers_in(waits_.front()->outcome()),
                              plan_.world.favourite < 0 ? no_favourite
                              : favourite.empty()       ? favourite_elsewhere
                                                        : favourite.ranks().front());
  if (hand_over_.donor < 0) {
    end(hand_over_.donor == HandOver::nobody
            ? refused("no site has a state to go on from: start all sites anew")
            : peer_lost("who might go on is not here"));
    return true;
  }
  handed_step_ = mine_.step;
  came_ = false;
  if (hand_over_.takers.empty()) {
    compare();
    return true;
  }
  std::vector<std::byte> size;
  if (current_->engine->rank() == hand_over_.donor) {
    current_->handed.push_back(to_payload(*training_));
    size = Writer().put(std::uint64_t{current_->handed.back().size()}).take();
  }
  waits_ = {gather(std::move(size))};
  stage_ = Stage::sizing;
  return true;
}

bool Trainer::hear_size() {
  if (!settled()) return stage_ == Stage::over;
  const auto& told = waits_.front()->outcome().gathered[static_cast<std::size_t>(hand_over_.donor)];
  Reader in(told);
  handed_bytes_ = in.get<std::uint64_t>();
  if (!in.ended()) {  // the donor is lost
    compare();
    return true;
  }
  const auto rank = static_cast<std::uint16_t>(current_->engine->rank());
  if (std::ranges::count(hand_over_.takers, rank) > 0)
    current_->handed.emplace_back(handed_bytes_);
  else if (rank != hand_over_.donor)
    current_->handed.emplace_back();
  came_ = true;
  waits_.clear();
  submitted_ = 0;
  stage_ = Stage::handing;
  around_.pass(Milestone::handing, site_);
  return true;
}

// Four chunks in flight. A donor that is lost fails its transfers, not the session.
bool Trainer::hand() {
  bool moved = false;
  const std::size_t chunks = (handed_bytes_ + plan_.chunk_bytes - 1) / plan_.chunk_bytes;
  std::vector<std::byte>& whole = current_->handed.back();
  while (!waits_.empty() && waits_.front()->done()) {
    const Status status = waits_.front()->outcome().status;
    waits_.erase(waits_.begin());
    moved = true;
    if (!status.ok() && status.code != Code::peer_lost) {
      end(status);
      return true;
    }
    came_ = came_ && status.ok();
  }
  for (; static_cast<std::size_t>(submitted_) < chunks && waits_.size() < chunks_in_flight;
       ++submitted_) {
    const std::size_t from = static_cast<std::size_t>(submitted_) * plan_.chunk_bytes;
    const std::size_t size = std::min(plan_.chunk_bytes, handed_bytes_ - from);
    Request request{.collective = Collective::hand,
                    .algorithm = Algorithm::hand,
                    .order = hand_over_.takers,
                    .root = hand_over_.donor,
                    .bytes = size};
    if (!whole.empty()) request.output = ByteSpan(whole).subspan(from, size);
    waits_.push_back(begin(*current_, std::move(request)));
    moved = true;
  }
  if (!waits_.empty()) return moved;
  compare();
  return true;
}

// Takes over what has come, and says what it holds then: 0, nothing yet.
void Trainer::compare() {
  const auto rank = static_cast<std::uint16_t>(current_->engine->rank());
  bool complete = std::ranges::count(hand_over_.takers, rank) == 0;
  if (!complete && came_) {
    training_ = parse_training(current_->handed.back());
    if (!training_) return end(internal_error("what was handed over makes no sense"));
    handed_step_ = training_->step;
    mine_.has_state = complete = true;
    mine_.step = handed_step_;
  }
  const std::uint64_t digest = complete ? training_->digest() : 0;
  waits_ = {gather(to_payload(Word{.step = handed_step_, .epoch = 0, .digest = digest}))};
  stage_ = Stage::comparing;
}

bool Trainer::hear_compared() {
  if (!settled()) return stage_ == Stage::over;
  std::vector<std::optional<Word>> words;
  bool all_hold = true;
  for (const auto& payload : waits_.front()->outcome().gathered) {
    words.push_back(payload.empty() ? std::nullopt : parse_word(payload));
    all_hold = all_hold && (payload.empty() || (words.back() && words.back()->digest != 0));
  }
  if (!all_hold) {
    answer();
    return true;
  }
  if (decide(words).verdict == Decision::Verdict::differ) {
    end(internal_error("the sites do not hold the same state before step " +
                       std::to_string(handed_step_)));
    return true;
  }
  if (previous_ != nullptr) leave(std::move(previous_));
  around_.pass(Milestone::agreed, site_);
  come_to_terms(contributors_of(waits_.front()->outcome()));
  return true;
}

// With these: training goes on from here, or they wait at once for more.
void Trainer::come_to_terms(SiteSet members) {
  around_.history.holds(process_, training_->step, training_->digest());
  if (!std::exchange(attends_, true)) current_->engine->attend(Standing::training, 0);
  current_->handed.clear();
  stage_ = Stage::boundary;
  if (too_few(members)) begin_waiting();
}

}  // namespace isthmus
