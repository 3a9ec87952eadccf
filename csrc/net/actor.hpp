// Actor: a state machine that the world moves on: the reactor's thread in life, SimNet in the
// simulator.
#pragma once

#include <cstdint>

namespace isthmus {

class Actor {
 public:
  virtual ~Actor() = default;

  // Does all that can be done now without waiting, and returns when to come back if nothing happens
  // before (never_ns: only on events). Called after every event of any of its streams.
  virtual std::int64_t step(std::int64_t now_ns) = 0;
};

}  // namespace isthmus
