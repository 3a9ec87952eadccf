// Hello, and the wishes of relay and offer: what opens a stream of a mesh. net/wire.md is the
// authority for the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

namespace isthmus {

inline constexpr std::uint32_t hello_bytes = 8;
inline constexpr std::uint16_t by_nobody = 0xffff;
inline constexpr std::uint16_t to_be_added = 0;  // to a link that stands; data: with a new number

struct Hello {
  std::uint16_t to;       // the rank that is called
  std::uint16_t stream;   // its number; 0: control
  std::uint16_t streams;  // data streams of the link, or to_be_added
  std::uint16_t by;       // the rank that carries the stream between the two, or by_nobody
};

inline std::vector<std::byte> to_payload(const Hello& hello) {
  return Writer().put(hello.to).put(hello.stream).put(hello.streams).put(hello.by).take();
}

inline std::optional<Hello> parse_hello(ByteView payload) {
  Reader in(payload);
  Hello hello{in.get<std::uint16_t>(), in.get<std::uint16_t>(), in.get<std::uint16_t>(),
              in.get<std::uint16_t>()};
  if (!in.ended()) return std::nullopt;
  return hello;
}

// The rank that a relay or an offer is for.
inline std::vector<std::byte> wish_for(std::uint16_t rank) {
  return Writer().put(rank).take();
}

inline std::optional<std::uint16_t> parse_wish(ByteView payload) {
  Reader in(payload);
  const auto rank = in.get<std::uint16_t>();
  if (!in.ended()) return std::nullopt;
  return rank;
}

}  // namespace isthmus
