#include "session/work.hpp"

#include <chrono>

namespace isthmus {

bool Work::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

bool Work::wait(std::int64_t timeout_ns) const {
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [this] { return done_; });
}

void Work::when_done(std::function<void()> then) {
  {
    const std::lock_guard lock(mutex_);
    if (!done_) {
      then_ = std::move(then);
      return;
    }
  }
  then();
}

void Work::finish(Outcome outcome) {
  std::function<void()> then;
  {
    const std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
    done_ = true;
    then = std::move(then_);
  }
  finished_.notify_all();
  if (then) then();
}

}  // namespace isthmus
