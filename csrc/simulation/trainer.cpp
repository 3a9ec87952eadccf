#include "simulation/trainer.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "codecs/codec.hpp"
#include "simulation/stranger.hpp"

namespace isthmus {
namespace {

// A process is ready for another epoch only after so many steps: DDP's buckets settle first.
constexpr std::uint64_t settling_steps = 2;
constexpr std::int64_t rejoin_timeout_ns = 300 * second_ns;
constexpr std::uint64_t sabotaged_step = 2;

StreamCounts counts_of(const Engine& engine) {
  StreamCounts counts;
  for (const auto& [peer, link] : engine.stats().links)
    counts += {link.streams_broken, link.streams_replaced, link.frames_again, link.damages};
  return counts;
}

}  // namespace

StreamCounts& StreamCounts::operator+=(const StreamCounts& more) {
  lost += more.lost;
  replaced += more.replaced;
  frames_again += more.frames_again;
  damages += more.damages;
  return *this;
}

StreamCounts Trainer::stream_counts() const {
  StreamCounts counts = streams_before_;
  for (const auto* seat : {&current_, &previous_, &next_, &joining_})
    if (*seat != nullptr) counts += counts_of(*(*seat)->engine);
  for (const auto& seat : left_) counts += counts_of(*seat->engine);
  return counts;
}

Trainer::Trainer(Surroundings around, int site, int life)
    : around_(std::move(around)),
      plan_(around_.plan),
      site_(site),
      process_(around_.history.comes(site)),
      random_(mix(plan_.world.seed * 1024 + static_cast<std::uint64_t>(site * 64 + life))) {}

Trainer::~Trainer() = default;

std::int64_t Trainer::step(std::int64_t now_ns) {
  now_ns_ = now_ns;
  if (stage_ == Stage::joining && current_ == nullptr && left_.empty()) join();
  const std::int64_t next_ns = step_engines(now_ns);
  if (stage_ == Stage::over) return ended() ? never_ns : next_ns;
  watch();
  const bool moved = mind_next() | go_on();
  mind_calls();
  return moved ? now_ns : std::min(next_ns, timer_ns_);
}

std::int64_t Trainer::step_engines(std::int64_t now_ns) {
  std::int64_t next_ns = never_ns;
  for (auto* seat : {&current_, &previous_, &next_, &joining_})
    if (*seat != nullptr) next_ns = std::min(next_ns, (*seat)->engine->step(now_ns));
  for (auto& seat : left_) next_ns = std::min(next_ns, seat->engine->step(now_ns));
  const auto closed = std::erase_if(left_, [this](auto& seat) {
    if (!seat->engine->closed()) return false;
    streams_before_ += counts_of(*seat->engine);
    return true;
  });
  return closed > 0 ? now_ns : next_ns;
}

const Engine* Trainer::engine() const {
  const bool stands = current_ != nullptr && stage_ != Stage::joining;
  return stands ? current_->engine.get() : nullptr;
}

bool Trainer::hands_over() const {
  return stage_ == Stage::answering || stage_ == Stage::sizing || stage_ == Stage::handing ||
         stage_ == Stage::comparing;
}

void Trainer::watch() {
  if (engine() != nullptr && !missed_ && !current_->engine->whole()) {
    missed_ = true;
    around_.history.tell(process_, "misses a site");
    around_.pass(Milestone::noticed, site_);
  }
}

EngineOptions Trainer::options_for(const Call& call, std::int64_t timeout_ns) {
  const WorldPlan& world = plan_.world;
  const SitePlan& self = world.sites[static_cast<std::size_t>(site_)];
  EngineOptions options;
  options.coordinator = address_of(plan_.coordinator_host(), coordinator_port);
  options.join.run = "run";
  options.join.sites = call.epoch == 0 ? world.world() : static_cast<int>(call.sites.size());
  options.join.self = {.site = self.name, .address = "", .streams = self.streams};
  options.join.codec_table = codecs::table_hash();
  options.join.ticket = random_.next();
  options.join.call = call;
  options.timeout_ns = timeout_ns;
  options.heartbeat_timeout_ns = world.heartbeat_timeout_ns;
  options.on_loss = world.on_loss;
  options.min_sites = std::min(world.min_sites, options.join.sites);
  if (world.favourite >= 0)
    options.favourite = world.sites[static_cast<std::size_t>(world.favourite)].name;
  options.tell = [this](const Event& event) {
    if (!event.why.empty()) around_.history.hears_of(process_, event.why);
    if (event.kind == Event::Kind::lost) around_.pass(Milestone::installed, site_);
  };
  return options;
}

Status Trainer::take_seat(std::unique_ptr<Seat>& seat, const Call& call, std::int64_t timeout_ns) {
  auto listener = around_.network.listen(address_of(site_, plan_.fixed_ports ? site_port : 0));
  if (!listener.ok()) return listener.status();
  EngineOptions options = options_for(call, timeout_ns);
  options.join.self.address = (*listener)->address();
  seat = std::make_unique<Seat>();
  seat->joined = std::make_shared<Work>(0);
  seat->engine = std::make_unique<Engine>(around_.network, std::move(*listener), std::move(options),
                                          seat->joined, now_ns_);
  return {};
}

// What is between two of a call's failures, isthmus does not leave to its user.
void Trainer::join() {
  if (join_until_ns_ == 0) {
    join_until_ns_ = now_ns_ + plan_.world.timeout_ns;
    around_.pass(Milestone::came, site_);
  }
  if (auto s = take_seat(current_, {}, join_until_ns_ - now_ns_); !s.ok()) end(s);
}

bool Trainer::mind_joining() {
  if (current_ == nullptr || !current_->joined->done()) return false;
  const Status status = current_->joined->outcome().status;
  if (!status.ok()) {
    const bool again = current_->engine->epoch() > 0 && now_ns_ < join_until_ns_;
    leave(std::move(current_));
    if (!again) end(status);
    return true;
  }
  stand(*current_);
  around_.pass(Milestone::joined, site_);
  if (current_->engine->epoch() > 0) {
    answer();
    return true;
  }
  training_ = begin_training(plan_);
  come_to_terms(SiteSet::first(static_cast<int>(current_->names.size())));
  return true;
}

SiteSet Trainer::Seat::rank_of(const std::string& site) const {
  const auto found = std::ranges::find(names, site);
  return found == names.end() ? SiteSet{} : SiteSet::of(static_cast<int>(found - names.begin()));
}

void Trainer::stand(Seat& seat) {
  const Roster& roster = *seat.engine->roster();
  for (const Member& member : roster.members) seat.names.push_back(member.site);
  seat.key = {roster.run, seat.engine->epoch()};
  std::vector<std::string> names = seat.names;
  if (seat.key.epoch > 0 && strikes(Sabotage::stale_roster)) {
    names.erase(names.begin());
    around_.sabotaged();
  }
  around_.history.stands(process_, seat.key, names);
}

void Trainer::leave(std::unique_ptr<Seat> seat) {
  seat->engine->close(now_ns_);
  left_.push_back(std::move(seat));
}

void Trainer::end(const Status& why) {
  const bool trains = stage_ == Stage::training || stage_ == Stage::boundary;
  around_.history.fails(process_, why, trains);
  stage_ = Stage::over;
  timer_ns_ = never_ns;
  for (auto* seat : {&current_, &previous_, &next_, &joining_})
    if (*seat != nullptr && plan_.orderly) leave(std::move(*seat));
}

bool Trainer::go_on() {
  switch (stage_) {
    case Stage::joining:
      return mind_joining();
    case Stage::answering:
      return hear_answers();
    case Stage::sizing:
      return hear_size();
    case Stage::handing:
      return hand();
    case Stage::comparing:
      return hear_compared();
    case Stage::boundary:
      return mind_boundary();
    case Stage::waiting:
      return wait_for_others();
    case Stage::training:
      return train();
    case Stage::over:
      return false;
  }
  return false;
}

// Whether all that it waits for has ended, well; a failure is the process's end.
bool Trainer::settled() {
  if (!std::ranges::all_of(waits_, &Work::done, [](auto& work) -> Work& { return *work; }))
    return false;
  for (const auto& work : waits_)
    if (const Status status = work->outcome().status; !status.ok()) {
      end(status);
      return false;
    }
  return true;
}

// What was said at the boundary before is read at this one.
bool Trainer::mind_boundary() {
  waits_.clear();
  if (word_ != nullptr) waits_ = {word_};
  if (!settled()) return stage_ == Stage::over;
  if (std::exchange(word_, nullptr) != nullptr)
    read_words();
  else
    say_word();
  return true;
}

void Trainer::read_words() {
  const Outcome& outcome = waits_.front()->outcome();
  const SiteSet members = contributors_of(outcome);
  std::vector<std::optional<Word>> words;
  for (const auto& payload : outcome.gathered)
    words.push_back(payload.empty() ? std::nullopt : parse_word(payload));
  const Decision decision = decide(words);
  if (decision.verdict == Decision::Verdict::differ)
    return end(internal_error("the sites do not hold the same state before step " +
                              std::to_string(training_->step - 1)));
  const bool few = too_few(members);
  if (few && plan_.sabotage == Sabotage::two_sides) {
    around_.sabotaged();
    return say_word();
  }
  if (few) {
    begin_waiting();
  } else if (decision.verdict == Decision::Verdict::change_over) {
    change_over();
  } else {
    say_word();
  }
}

// By what all who contributed see.
bool Trainer::too_few(SiteSet members) const {
  const SiteSet everybody = SiteSet::first(static_cast<int>(current_->names.size()));
  return members != everybody && !current_->engine->lawful().within(members);
}

void Trainer::begin_waiting() {
  around_.history.tell(process_, "waits for others");
  around_.pass(Milestone::stuck, site_);
  listens_ = true;
  stage_ = Stage::waiting;
  timer_ns_ = now_ns_ + rejoin_timeout_ns;
}

// Whatever was told of the next epoch, nobody goes by it: all see that they are too few.
bool Trainer::wait_for_others() {
  if (next_ != nullptr && next_->engine->whole()) {
    timer_ns_ = never_ns;
    change_over();
    return true;
  }
  if (next_ != nullptr) {
    give_up_next();
    return true;
  }
  const Status& failure = current_->engine->failure();
  if (failure.ok() && now_ns_ < timer_ns_) return false;
  end(failure.ok() ? peer_lost("too few are left, and nobody came") : failure);
  return true;
}

void Trainer::say_word() {
  const std::uint32_t epoch = steps_done_ >= settling_steps ? ready() : 0;
  const std::uint64_t digest = plan_.checks ? training_->digest() : 0;
  word_ = gather(to_payload(Word{.step = training_->step, .epoch = epoch, .digest = digest}));
  stage_ = Stage::training;
  submitted_ = 0;
  waits_.clear();
  timer_ns_ = now_ns_ + random_.between<std::int64_t>(0, plan_.think_ns);
}

// Several operations in flight; the step is done when all are.
bool Trainer::train() {
  if (strikes(Sabotage::hang)) {
    around_.sabotaged();
    timer_ns_ = never_ns;
    return false;
  }
  if (submitted_ < plan_.operations) {
    if (now_ns_ < timer_ns_) return false;
    submit_reduction();
    timer_ns_ = ++submitted_ == plan_.operations
                    ? never_ns
                    : now_ns_ + random_.between<std::int64_t>(0, plan_.think_ns);
    return true;
  }
  if (!settled()) return stage_ == Stage::over;
  apply_step();
  around_.pass(Milestone::trained, site_);
  stage_ = Stage::boundary;
  return true;
}

bool Trainer::strikes(Sabotage kind) const {
  return plan_.sabotage == kind && site_ == 0 && (!training_ || training_->step >= sabotaged_step);
}

void Trainer::submit_reduction() {
  Seat& seat = *current_;
  const WorldPlan scene = scene_of(plan_, seat.key, seat.next_operation, seat.names);
  const int rank = seat.engine->rank();
  std::vector<float> values = drawn_floats(scene, 0, rank);
  const float factor = strikes(Sabotage::counted_twice) ? 2.0F
                       : strikes(Sabotage::dropped)     ? 0.0F
                                                        : 1.0F;
  if (factor != 1.0F) around_.sabotaged();
  for (float& value : values) value *= factor;
  const OperationPlan& operation = scene.operations.front();
  seat.reductions.emplace_back();
  Reduction& memory = seat.reductions.back();
  Request request = reduction_of(operation, operation.weights[static_cast<std::size_t>(rank)],
                                 std::move(values), false, memory);
  around_.history.begins(process_, seat.key_of(seat.next_operation), rank);
  waits_.push_back(begin(seat, std::move(request)));
  waits_.back()->when_done(
      [this, &seat, &memory, work = waits_.back().get()] { record(seat, *work, memory.values); });
}

void Trainer::record(Seat& seat, Work& work, std::vector<float>& values) {
  const Outcome& outcome = work.outcome();
  if (!outcome.status.ok()) return;
  if (strikes(Sabotage::flipped)) {
    around_.sabotaged();
    values.front() = -values.front() + (values.front() == 0 ? 1.0F : 0.0F);
  }
  Ended ended{.roster = seat.engine->present(), .contributors = contributors_of(outcome)};
  const auto bytes = std::as_bytes(std::span(values));
  ended.result.assign(bytes.begin(), bytes.end());
  around_.history.ends(process_, seat.key_of(work.operation()), std::move(ended));
}

void Trainer::apply_step() {
  Seat& seat = *current_;
  if (plan_.sabotage != Sabotage::none) before_ = training_;
  const std::uint64_t before = training_->digest();
  const bool twice = strikes(Sabotage::twice_applied);
  if (twice) around_.sabotaged();
  for (int time = 0; time < (twice ? 2 : 1); ++time) {
    auto memory = seat.reductions.begin();
    for (const auto& work : waits_)
      training_->add(contributors_of(work->outcome()), (memory++)->values);
  }
  ++training_->step;
  ++steps_done_;
  around_.history.applies(process_, seat.key_of(waits_.back()->operation()), training_->step - 1,
                          before, training_->digest());
  seat.reductions.clear();  // the caller's memory is its own again
}

std::shared_ptr<Work> Trainer::begin(Seat& seat, Request request) {
  auto work = std::make_shared<Work>(seat.next_operation++);
  seat.engine->submit(work, std::move(request), now_ns_);
  return work;
}

std::shared_ptr<Work> Trainer::gather(std::vector<std::byte> payload) {
  Seat& seat = *current_;
  const OperationKey key = seat.key_of(seat.next_operation);
  around_.history.says(process_, key, seat.engine->rank(), payload);
  auto work = begin(seat, Request{.payload = std::move(payload)});
  work->when_done([this, &seat, key, done = work.get()] {
    if (const Outcome& outcome = done->outcome(); outcome.status.ok())
      around_.history.hears(process_, key, outcome, seat.engine->present());
  });
  return work;
}

}  // namespace isthmus
