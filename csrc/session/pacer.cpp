#include "session/pacer.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// What may go at once after a pause: what the uplink carries in this time, but a slow one's frame
// at least.
constexpr double least_burst_bytes = 64 << 10;
constexpr double burst_s = .01;

}  // namespace

bool Pacer::may_send(std::int64_t now_ns) {
  if (!active()) return true;
  const double most = std::max(least_burst_bytes, burst_s * bytes_per_s_);
  const double earned = static_cast<double>(now_ns - filled_ns_) / second_ns * bytes_per_s_;
  tokens_ = std::min(most, tokens_ + earned);
  filled_ns_ = now_ns;
  if (tokens_ > -1) return true;  // a byte, for what rounding loses
  ready_ns_ = now_ns + static_cast<std::int64_t>(-tokens_ / bytes_per_s_ * second_ns) + 1;
  return false;
}

}  // namespace isthmus
