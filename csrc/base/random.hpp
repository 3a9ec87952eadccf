// Random: SplitMix64, the same numbers with every compiler. For simulations; nothing secret comes
// from it.
#pragma once

#include <cstdint>

#include "base/check.hpp"

namespace isthmus {

inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
  std::uint64_t below(std::uint64_t bound) {  // REQUIRES: bound > 0
    ISTHMUS_CHECK(bound > 0);
    return next() % bound;  // the bias is no matter here
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  bool chance(double p) { return unit() < p; }
  double unit() {  // in [0, 1)
    constexpr double one_of_2_53 = 0x1p-53;
    return static_cast<double>(next() >> 11) * one_of_2_53;
  }
  template <class T>
  T between(T low, T high) {  // both included
    return low + static_cast<T>(below(static_cast<std::uint64_t>(high - low) + 1));
  }

 private:
  std::uint64_t state_;
};

}  // namespace isthmus
