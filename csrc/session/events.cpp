#include "session/events.hpp"

#include <utility>

namespace isthmus {

void Events::put(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() == most) waiting_.pop_front();
    waiting_.push_back(std::move(event));
  }
  news_.notify_one();
}

std::optional<Event> Events::next() {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
  if (waiting_.empty()) return std::nullopt;
  Event event = std::move(waiting_.front());
  waiting_.pop_front();
  return event;
}

void Events::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  news_.notify_all();
}

}  // namespace isthmus
