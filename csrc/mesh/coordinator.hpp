// Coordinator: keeps the rosters of runs, gives out generations, and never sees data.
//
// Soft state: a run is forgotten when its last site has left, and after a restart sites say again
// what is to be known. Who joins a run that goes on waits until all can meet for the next epoch
// (waiting_room.hpp). Strangers are bounded in number, bytes and time.
#pragma once

#include <map>
#include <memory>

#include "base/clock.hpp"
#include "mesh/roster.hpp"
#include "net/actor.hpp"
#include "net/channel.hpp"

namespace isthmus {

class Coordinator final : public Actor {
 public:
  // `seed` makes run numbers; in life it is random.
  Coordinator(std::unique_ptr<Listener> listener, std::uint64_t seed);
  ~Coordinator() override;

  std::int64_t step(std::int64_t now_ns) override;
  std::string address() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isthmus
