// SimNetwork: one site's door into the World.
#pragma once

#include "net/sim_world.hpp"

namespace isthmus::sim {

class SimNetwork final : public Network {
 public:
  SimNetwork(std::shared_ptr<World> world, int host) : world_(std::move(world)), host_(host) {}
  Result<std::unique_ptr<Stream>> connect(const std::string& address) override;
  Result<std::unique_ptr<Listener>> listen(const std::string& address) override;

 private:
  std::shared_ptr<World> world_;
  int host_;
};

}  // namespace isthmus::sim
