// Clock: the only source of time. SteadyClock is the machine's; SimNet has its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace isthmus {

inline constexpr std::int64_t never_ns = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t second_ns = 1'000'000'000;
inline constexpr std::int64_t millisecond_ns = 1'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t now_ns() const = 0;
};

class SteadyClock final : public Clock {
 public:
  std::int64_t now_ns() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace isthmus
