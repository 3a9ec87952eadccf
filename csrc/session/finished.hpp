// Finished: what sites tell each other, with their census, of the operations that they have done,
// and what follows from it: who gives whose result to whom.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "mesh/membership.hpp"

namespace isthmus {

// One operation that ended well here, and whose result is kept.
struct Finished {
  std::uint64_t operation = 0;
  SiteSet contributors;
  std::uint64_t bytes = 0;  // of the result
  friend bool operator==(const Finished&, const Finished&) = default;
};

struct Report {
  Census census;
  std::uint64_t first_open = 0;      // all operations below are over
  std::vector<Finished> finished{};  // that are kept, in the order of their numbers
};

// More are not kept: nobody has more in flight.
inline constexpr std::size_t max_finished = 1 << 15;

std::vector<std::byte> to_payload(const Report& report);
std::optional<Report> parse_report(ByteView payload);

// The result of an operation that some have and others lack.
struct Service {
  int from;  // the lowest rank of those that have it
  SiteSet to;
  Finished what;
};

// By operation. `reports` by rank; those of others than the roster's are not looked at.
std::map<std::uint64_t, Service> services(SiteSet roster, const std::vector<Report>& reports);

}  // namespace isthmus
