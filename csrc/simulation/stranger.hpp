// Stranger: comes to a port where nobody waits for it, and says something or nothing. For worlds of
// the simulator.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "net/actor.hpp"
#include "net/stream.hpp"
#include "simulation/plan.hpp"

namespace isthmus {

// Where the sites and the coordinator (the host after the last site) listen.
inline constexpr int site_port = 4000;
inline constexpr int coordinator_port = 7000;
std::string address_of(int host, int port);

class Stranger final : public Actor {
 public:
  Stranger(Network& network, const WorldPlan& plan, int number);

  std::int64_t step(std::int64_t now_ns) override;

 private:
  void draw_words();

  Network& network_;
  Random random_;
  std::int64_t come_ns_;
  std::string address_;
  std::vector<std::byte> words_;
  bool came_ = false;
  std::unique_ptr<Stream> stream_;
};

}  // namespace isthmus
