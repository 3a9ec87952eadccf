// TcpNetwork: streams over the kernel's TCP, watched by a Reactor. Addresses are "host:port" or
// "[v6]:port".
//
// connect() never waits for a name server: until the name is found its stream is still connecting.
// listen() and address_towards() may.
#pragma once

#include <map>

#include "net/lookups.hpp"
#include "net/reactor.hpp"
#include "net/stream.hpp"

namespace isthmus {

struct TcpOptions {
  // Congestion control of streams that leave the machine, where the kernel has it; empty: the
  // kernel's default.
  std::string congestion = "bbr";
  // Unacknowledged for so long, a connection is dead.
  std::int64_t user_timeout_ns = 5 * second_ns;
  Resolver resolver{};  // of names that are dialled; empty: the system's
};

class TcpNetwork final : public Network {
 public:
  TcpNetwork(Reactor& reactor, TcpOptions options);

  Result<std::unique_ptr<Stream>> connect(const std::string& address) override;
  Result<std::unique_ptr<Listener>> listen(const std::string& address) override;

  // Looks the name up here and now, so that the next connect() to it finds it known.
  void prepare(const std::string& address) { lookups_.prepare(address); }

  // The address of this machine that faces `remote`, without a port: what to advertise when bound
  // to all.
  static Result<std::string> address_towards(const std::string& remote);

 private:
  Reactor& reactor_;
  TcpOptions options_;
  int send_buffer_;  // of streams that leave the machine; 0: the kernel sees to it
  Lookups lookups_;
};

}  // namespace isthmus
