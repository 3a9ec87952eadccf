// Address: "host:port" texts and what the kernel makes of them.
#pragma once

#include <netinet/in.h>

#include <optional>
#include <string>

#include "base/status.hpp"

namespace isthmus {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

struct HostPort {
  std::string host;
  std::string port;
};

Result<HostPort> split_address(const std::string& address);
// Of a host that is a number; none: it is a name, or nonsense.
std::optional<SocketAddress> numeric(const std::string& address);
// Looks the name up, which may take as long as the name server does. `passive`: for listening,
// where an empty host means all addresses.
Result<SocketAddress> resolve(const std::string& address, bool passive);
std::string host_text(const SocketAddress& address);  // without the port, no brackets
std::string to_text(const SocketAddress& address);    // "host:port", IPv6 in brackets
bool is_loopback(const SocketAddress& address);

}  // namespace isthmus
