#include "net/address.hpp"

#include <arpa/inet.h>
#include <netdb.h>

#include <cstring>

namespace isthmus {

Result<HostPort> split_address(const std::string& address) {
  const auto colon = address.rfind(':');
  const Status bad = refused("\"" + address + "\" is no address: write host:port, or [v6]:port");
  if (colon == std::string::npos || colon + 1 == address.size()) return bad;
  HostPort out{address.substr(0, colon), address.substr(colon + 1)};
  if (out.port.find_first_not_of("0123456789") != std::string::npos || out.port.size() > 5 ||
      std::stoi(out.port) > 65535)
    return bad;
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  else if (out.host.find(':') != std::string::npos)
    return bad;
  return out;
}

namespace {

Result<SocketAddress> ask(const std::string& address, bool passive, int flags) {
  const auto parts = split_address(address);
  if (!parts.ok()) return parts.status();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | (passive ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const char* host =
      parts->host.empty() ? (passive ? "0.0.0.0" : "127.0.0.1") : parts->host.c_str();
  if (const int code = getaddrinfo(host, parts->port.c_str(), &hints, &found); code != 0)
    return refused("cannot find the host of \"" + address + "\": " + gai_strerror(code));
  SocketAddress out;
  std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
  out.size = found->ai_addrlen;
  freeaddrinfo(found);
  return out;
}

}  // namespace

std::optional<SocketAddress> numeric(const std::string& address) {
  const auto found = ask(address, false, AI_NUMERICHOST);
  return found.ok() ? std::optional(*found) : std::nullopt;
}

Result<SocketAddress> resolve(const std::string& address, bool passive) {
  return ask(address, passive, 0);
}

std::string host_text(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.family() == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr, text,
              sizeof text);
  else if (address.family() == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr, text,
              sizeof text);
  return text;
}

std::string to_text(const SocketAddress& address) {
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  if (address.family() == AF_INET6)
    return "[" + host_text(address) + "]:" + std::to_string(ntohs(v6->sin6_port));
  return host_text(address) + ":" + std::to_string(ntohs(v4->sin_port));
}

bool is_loopback(const SocketAddress& address) {
  if (address.family() == AF_INET)
    return ntohl(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr) >> 24 ==
           127;
  return address.family() == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr);
}

}  // namespace isthmus
