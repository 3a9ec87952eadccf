#include "mesh/ways.hpp"

#include "mesh/hello.hpp"

namespace isthmus {
namespace {

std::vector<int> parse(ByteView payload, int world) {
  Reader in(payload);
  std::vector<int> ways;
  for (int i = 0; i < world; ++i) {
    const auto by = in.get<std::uint16_t>();
    ways.push_back(by == by_nobody ? -1 : by);
  }
  return in.ended() ? ways : std::vector<int>(static_cast<std::size_t>(world), -1);
}

}  // namespace

std::vector<std::byte> to_payload(const std::vector<int>& ways) {
  Writer out;
  for (const int by : ways) out.put(by < 0 ? by_nobody : static_cast<std::uint16_t>(by));
  return out.take();
}

std::vector<Relayed> relayed_pairs(const std::vector<std::vector<std::byte>>& told) {
  const int world = static_cast<int>(told.size());
  std::vector<Relayed> pairs;
  for (int a = 0; a < world; ++a) {
    const std::vector<int> ways = parse(told[static_cast<std::size_t>(a)], world);
    for (int b = a + 1; b < world; ++b) {
      const int by = ways[static_cast<std::size_t>(b)];
      if (by >= 0 && by < world && by != a && by != b) pairs.push_back({a, b, by});
    }
  }
  return pairs;
}

}  // namespace isthmus
