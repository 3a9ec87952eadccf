// Pacer: how fast a site hands data to the kernel: all links together, and single ones; token
// buckets.
//
// Every TCP connection paces itself by the best it ever got, so several that share an uplink send
// up to twice what it carries whenever they begin together. What is too much stands in the uplink's
// queue, and this site's acknowledgements behind it: the others' windows wait for them, stop, and
// go on in a burst of their own. A site that sends as fast as its uplink carries has no such queue,
// and none at a narrower pair, or at a peer whose downlink many share, if it sends to that peer no
// faster than is carried there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.hpp"

namespace isthmus {

// In bytes of payload a second; 0: nothing is held back.
struct Paces {
  double all = 0;
  std::vector<double> peers{};  // by rank; empty: no peer is paced by itself
};

class TokenBucket {
 public:
  explicit TokenBucket(double bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  bool active() const { return bytes_per_s_ > 0; }
  // When data may go: `now_ns` if now.
  std::int64_t ready_ns(std::int64_t now_ns);
  void spend(std::size_t bytes) { tokens_ -= static_cast<double>(bytes); }

 private:
  double bytes_per_s_;
  double tokens_ = 0;
  std::int64_t filled_ns_ = 0;
};

class Pacer {
 public:
  static constexpr int no_peer = -1;  // for what only the pace of all counts

  explicit Pacer(const Paces& paces)
      : all_(paces.all), peers_(paces.peers.begin(), paces.peers.end()) {}

  bool active() const { return all_.active() || !peers_.empty(); }
  // When data may go to a peer: `now_ns` if now; then spend() what went.
  std::int64_t ready_ns(int peer, std::int64_t now_ns);
  void spend(int peer, std::size_t bytes);

 private:
  TokenBucket* bucket_of(int peer);

  TokenBucket all_;
  std::vector<TokenBucket> peers_;
};

}  // namespace isthmus
