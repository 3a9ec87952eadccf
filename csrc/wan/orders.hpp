// Orders: what goes wrong in an emulated network from now on, given by another thread while the
// loop runs, which takes them before it looks at the next packet.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace isthmus::wan {

struct Order {
  enum class Kind {
    cut,      // nothing passes
    slow,     // rates are `factor` times lower, delays as much longer
    corrupt,  // a byte of the next segment of many that leave for `other` is changed on its way
  };
  Kind kind = Kind::cut;
  int site = 0;
  int other = -1;  // -1: all others
  std::int64_t length_ns = never_ns;
  double factor = 1;
};

class Orders {
 public:
  void give(const Order& order) {
    const std::lock_guard lock(mutex_);
    given_.push_back(order);
  }
  std::vector<Order> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(given_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Order> given_;
};

}  // namespace isthmus::wan
