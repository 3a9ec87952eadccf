#include "session/pacer.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// Of an uplink's bits, 1448 of 1514 bytes a packet are payload.
constexpr double payload_share = .95;
// What may go at once after a pause: two frames, or what the uplink carries in this time.
constexpr double least_burst_bytes = 512 << 10;
constexpr double burst_s = .01;

}  // namespace

Pacer::Pacer(double uplink_bits_per_s) : bytes_per_s_(payload_share * uplink_bits_per_s / 8) {}

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
