#include "session/pacer.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// What may go at once after a pause: what is carried in this time, but a slow link's frame at
// least.
constexpr double least_burst_bytes = 64 << 10;
constexpr double burst_s = .01;

}  // namespace

std::int64_t TokenBucket::ready_ns(std::int64_t now_ns) {
  if (!active()) return now_ns;
  const double most = std::max(least_burst_bytes, burst_s * bytes_per_s_);
  const double earned = static_cast<double>(now_ns - filled_ns_) / second_ns * bytes_per_s_;
  tokens_ = std::min(most, tokens_ + earned);
  filled_ns_ = now_ns;
  if (tokens_ > -1) return now_ns;  // a byte, for what rounding loses
  return now_ns + static_cast<std::int64_t>(-tokens_ / bytes_per_s_ * second_ns) + 1;
}

std::int64_t Pacer::ready_ns(int peer, std::int64_t now_ns) {
  const std::int64_t all = all_.ready_ns(now_ns);
  TokenBucket* bucket = bucket_of(peer);
  return bucket == nullptr ? all : std::max(all, bucket->ready_ns(now_ns));
}

void Pacer::spend(int peer, std::size_t bytes) {
  all_.spend(bytes);
  if (TokenBucket* bucket = bucket_of(peer); bucket != nullptr) bucket->spend(bytes);
}

TokenBucket* Pacer::bucket_of(int peer) {
  if (peer == no_peer || peers_.empty()) return nullptr;
  return &peers_[static_cast<std::size_t>(peer)];
}

}  // namespace isthmus
