// Keeper: a Coordinator with a thread and a port, for a program of its own or for a site that
// serves. Shared by the sessions that follow each other in one process: it outlives each of them.
#pragma once

#include <sys/types.h>

#include <memory>
#include <thread>

#include "mesh/coordinator.hpp"
#include "net/tcp.hpp"

namespace isthmus {

class Keeper {
 public:
  // Refused: it cannot listen there. Port 0: any.
  static Result<std::shared_ptr<Keeper>> open(const std::string& listen);
  ~Keeper();  // closes
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  const std::string& address() const { return address_; }
  // Its port is free afterwards. Nothing happens in a forked child.
  void close();

 private:
  Keeper();

  Reactor reactor_;
  TcpNetwork network_;
  const pid_t owner_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string address_;
  std::thread thread_;
};

}  // namespace isthmus
