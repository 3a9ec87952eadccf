// Trainer: one process of a site in a run: it joins, trains step after step, follows calls to the
// next epoch, changes over at a boundary, hands its state over or takes another's, and ends when it
// cannot go on.
//
// What it runs is the engine, the rendezvous and the boundary's rules themselves. What isthmus.Run
// and isthmus.Epochs add to them in Python is told again here, as a state machine; where these
// change, this follows.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "net/sim.hpp"
#include "session/boundary.hpp"
#include "session/engine.hpp"
#include "simulation/history.hpp"
#include "simulation/inputs.hpp"

namespace isthmus {

// What happened to single data streams, of links that stood to the end of their sessions.
struct StreamCounts {
  std::uint64_t lost = 0, replaced = 0, frames_again = 0, damages = 0;
  StreamCounts& operator+=(const StreamCounts& more);
};

// Where a trainer lives.
struct Surroundings {
  Network& network;
  const RunPlan& plan;
  History& history;
  std::function<void(Milestone, int site)> pass;
  std::function<void()> sabotaged;
};

class Trainer final : public Actor {
 public:
  Trainer(Surroundings around, int site, int life);
  ~Trainer() override;

  std::int64_t step(std::int64_t now_ns) override;

  // The process is at its end by itself.
  bool ended() const { return stage_ == Stage::over && (left_.empty() || !plan_.orderly); }
  bool failing() const { return stage_ == Stage::over; }
  int process() const { return process_; }
  bool has_state() const { return training_.has_value(); }
  std::uint64_t digest() const { return training_->digest(); }
  std::uint64_t steps_done() const { return steps_done_; }
  // Of the epoch in which it trains; null: none.
  const Engine* engine() const;
  const std::vector<std::string>& names() const { return current_->names; }
  // For what a fault that comes now comes to.
  bool comes_in() const { return !training_ || next_ != nullptr || joining_ != nullptr; }
  bool hands_over() const;
  bool misses() const { return missed_; }
  StreamCounts stream_counts() const;

 private:
  enum class Stage {
    joining,    // the first epoch that it comes to
    answering,  // a new epoch: who brings the state
    sizing,
    handing,
    comparing,
    boundary,  // before a step
    waiting,   // too few: for others
    training,
    over,
  };
  struct Seat {                         // in one epoch
    std::list<Reduction> reductions{};  // before the engine, which points into them
    std::list<std::vector<std::byte>> handed{};
    std::unique_ptr<Engine> engine{};
    std::shared_ptr<Work> joined{};
    std::uint64_t next_operation = Engine::first_operation;
    std::vector<std::string> names{};
    EpochKey key{};
    bool met = false;
    OperationKey key_of(std::uint64_t number) const { return {key, number}; }
    SiteSet rank_of(const std::string& site) const;  // empty: it is not called
  };

  Status take_seat(std::unique_ptr<Seat>& seat, const Call& call, std::int64_t timeout_ns);
  EngineOptions options_for(const Call& call, std::int64_t timeout_ns);
  void join();
  void stand(Seat& seat);
  void leave(std::unique_ptr<Seat> seat);
  void end(const Status& why);
  std::int64_t step_engines(std::int64_t now_ns);
  void watch();

  // The run loop (trainer.cpp); each returns whether something has moved.
  bool go_on();
  bool mind_joining();
  bool mind_boundary();
  void read_words();
  void say_word();
  bool too_few(SiteSet members) const;
  void begin_waiting();
  bool wait_for_others();
  bool train();
  void submit_reduction();
  void apply_step();
  bool settled();
  void record(Seat& seat, Work& work, std::vector<float>& values);
  bool strikes(Sabotage kind) const;
  std::shared_ptr<Work> begin(Seat& seat, Request request);
  std::shared_ptr<Work> gather(std::vector<std::byte> payload);

  // Hand-over, and the next epoch (trainer_epochs.cpp).
  void change_over();
  void answer();
  bool hear_answers();
  bool hear_size();
  bool hand();
  void compare();
  bool hear_compared();
  void come_to_terms(SiteSet members);
  std::uint32_t ready();
  void mind_calls();
  bool mind_next();
  void give_up_next();

  Surroundings around_;
  const RunPlan& plan_;
  const int site_;
  const int process_;
  Random random_;
  Stage stage_ = Stage::joining;
  std::int64_t now_ns_ = 0;
  std::int64_t join_until_ns_ = 0;
  std::int64_t timer_ns_ = never_ns;
  std::unique_ptr<Seat> current_, previous_;  // the previous one until all hold the same state
  std::unique_ptr<Seat> next_;                // stands
  std::unique_ptr<Seat> joining_;             // is to be the next one
  std::vector<std::unique_ptr<Seat>> left_;   // close
  std::vector<std::shared_ptr<Work>> waits_;  // for these
  std::shared_ptr<Work> word_;                // said at the last boundary
  bool missed_ = false;                       // somebody, in the current epoch
  StreamCounts streams_before_;               // of sessions that are closed

  // Epochs.
  bool attends_ = false, listens_ = false;
  bool told_ = false, withdrawn_ = false;
  std::uint32_t followed_ = 0;

  // Run.
  std::optional<Training> training_;
  std::optional<Training> before_;  // the last step
  std::uint64_t steps_done_ = 0;
  int submitted_ = 0;
  Answer mine_;
  HandOver hand_over_;
  std::uint64_t handed_step_ = 0;
  std::size_t handed_bytes_ = 0;
  bool came_ = false;
};

}  // namespace isthmus
