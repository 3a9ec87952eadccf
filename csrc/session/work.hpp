// Work: what a caller holds of an operation in flight. Finished once, by the reactor's thread; read
// by any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.hpp"
#include "collective/terms.hpp"

namespace isthmus {

struct Outcome {
  Status status;
  std::vector<int> contributors{};                 // ranks whose data is in the result
  std::vector<std::vector<std::byte>> gathered{};  // all_gather: by rank
  bool finite = true;  // all_reduce: no element of the result is infinite or not a number
  TermSum term_sum{};  // all_reduce that keeps the terms: what makes the result of them
};

class Work {
 public:
  explicit Work(std::uint64_t operation) : operation_(operation) {}

  std::uint64_t operation() const { return operation_; }
  bool done() const;
  // False: not done within `timeout_ns`; the operation goes on.
  bool wait(std::int64_t timeout_ns) const;
  // REQUIRES: done().
  const Outcome& outcome() const { return outcome_; }

  // Runs `then` once the work is done: now if it is, else on the thread that finishes it.
  void when_done(std::function<void()> then);
  void finish(Outcome outcome);

 private:
  const std::uint64_t operation_;
  mutable std::mutex mutex_;
  mutable std::condition_variable finished_;
  bool done_ = false;
  Outcome outcome_;  // written once, before done_
  std::function<void()> then_;
};

}  // namespace isthmus
