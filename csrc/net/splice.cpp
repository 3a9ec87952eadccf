#include "net/splice.hpp"

namespace isthmus {
namespace {

// A step moves at most so much each way before others have their turn.
constexpr std::size_t budget_bytes = 4 << 20;
// The second way of a splice whose first is over may be silent for so long.
constexpr std::int64_t patience_ns = 30 * second_ns;

}  // namespace

Splice::Splice(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b)
    : a_(std::move(a)),
      b_(std::move(b)),
      ways_{Way{.from = a_.get(), .to = b_.get()}, Way{.from = b_.get(), .to = a_.get()}} {}

bool Splice::step(std::int64_t now_ns) {
  more_ = false;
  for (Way& way : ways_)
    if (!move(way)) return false;
  if (ways_[0].over && ways_[1].over) return false;
  if (!ways_[0].over && !ways_[1].over) return true;
  if (patience_ends_ns_ == never_ns || bytes_passed_ != passed_before_)
    patience_ends_ns_ = now_ns + patience_ns;
  passed_before_ = bytes_passed_;
  return now_ns < patience_ends_ns_;
}

std::int64_t Splice::deadline_ns() const {
  return more_ ? 0 : patience_ends_ns_;
}

// False: nobody takes the bytes any more.
bool Splice::move(Way& way) {
  std::size_t budget = budget_bytes;
  while (!way.over) {
    if (way.begin == way.end && !fill(way)) break;
    const ByteView rest(way.buffer.get() + way.begin, way.end - way.begin);
    const auto wrote = way.to->write(std::span(&rest, 1));
    if (!wrote.ok()) return false;
    way.begin += *wrote;
    bytes_passed_ += *wrote;
    if (way.begin < way.end) return true;
    budget -= std::min(budget, *wrote);
    if (budget == 0) {
      more_ = true;
      return true;
    }
  }
  if (way.ended && !way.over) {
    way.over = true;
    way.to->shut_write();
  }
  // An idle stream, such as one of control, keeps no memory.
  way.buffer.reset();
  return true;
}

// REQUIRES: nothing waits. False: nothing came.
bool Splice::fill(Way& way) {
  if (way.ended || !way.from->can_read()) return false;
  if (way.buffer == nullptr) way.buffer = std::make_unique_for_overwrite<std::byte[]>(buffer_bytes);
  const ByteSpan into(way.buffer.get(), buffer_bytes);
  const auto got = way.from->read(std::span(&into, 1));
  way.ended = !got.ok();
  way.begin = 0;
  way.end = got.ok() ? *got : 0;
  return way.end > 0;
}

}  // namespace isthmus
