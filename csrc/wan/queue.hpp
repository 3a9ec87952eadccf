// Queue: a drop-tail queue before a line of one rate, as arithmetic on times. It holds no packets
// and reads no clock.
//
// A packet that would wait longer than the queue is deep is dropped; its own time on the line is
// not counted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace isthmus::wan {

class Queue {
 public:
  Queue() = default;
  Queue(double rate_bps, std::int64_t depth_ns) : rate_bps_(rate_bps), depth_ns_(depth_ns) {}

  // When a packet that comes at `now_ns` has left the line; nothing if the queue is full.
  // REQUIRES: `now_ns` is not before that of an earlier call.
  std::optional<std::int64_t> pass(std::int64_t now_ns, std::size_t bytes) {
    if (rate_bps_ <= 0) return now_ns;  // unlimited
    const std::int64_t start_ns = std::max(now_ns, free_at_ns_);
    if (start_ns - now_ns > depth_ns_) return std::nullopt;
    const double line_ns = static_cast<double>(bytes) * 8e9 / rate_bps_;
    free_at_ns_ = start_ns + static_cast<std::int64_t>(line_ns);
    return free_at_ns_;
  }

 private:
  double rate_bps_ = 0;
  std::int64_t depth_ns_ = 0;
  std::int64_t free_at_ns_ = 0;
};

}  // namespace isthmus::wan
