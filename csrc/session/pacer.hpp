// Pacer: how fast a site hands data to the kernel, all links together; a token bucket.
//
// Every TCP connection paces itself by the best it ever got, so several that share an uplink send
// up to twice what it carries whenever they begin together. What is too much stands in the uplink's
// queue, and this site's acknowledgements behind it: the others' windows wait for them, stop, and
// go on in a burst of their own. A site that sends as fast as its uplink carries has no such queue.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.hpp"

namespace isthmus {

class Pacer {
 public:
  // Of payload; 0: nothing is held back.
  explicit Pacer(double bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  bool active() const { return bytes_per_s_ > 0; }
  // Data may go now; spend() what went. Not: come back at ready_ns().
  bool may_send(std::int64_t now_ns);
  void spend(std::size_t bytes) { tokens_ -= static_cast<double>(bytes); }
  std::int64_t ready_ns() const { return ready_ns_; }

 private:
  double bytes_per_s_;
  double tokens_ = 0;
  std::int64_t filled_ns_ = 0;
  std::int64_t ready_ns_ = 0;
};

}  // namespace isthmus
