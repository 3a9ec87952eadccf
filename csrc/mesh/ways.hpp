// Ways: which pairs of sites are connected by way of a third, as all sites tell each other.
#pragma once

#include <vector>

#include "base/bytes.hpp"

namespace isthmus {

// Sites a and b, a < b, are connected by way of `by`.
struct Relayed {
  int a, b, by;
  friend bool operator==(const Relayed&, const Relayed&) = default;
};

// What a site says of its own ways: by rank, the one by way of which it reaches that site, or -1.
std::vector<std::byte> to_payload(const std::vector<int>& ways);

// From every site's word, by rank; the same at every site. Of two that differ about their pair the
// one of lower rank is believed, and what makes no sense is no way.
std::vector<Relayed> relayed_pairs(const std::vector<std::vector<std::byte>>& told);

}  // namespace isthmus
