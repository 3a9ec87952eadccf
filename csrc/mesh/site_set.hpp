// SiteSet: some of a session's sites, by rank.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "mesh/roster.hpp"

namespace isthmus {

class SiteSet {
 public:
  SiteSet() = default;
  explicit SiteSet(std::uint64_t bits) : bits_(bits) {}
  static SiteSet first(int world) {  // ranks 0 to world - 1
    return SiteSet(world == 0 ? 0 : ~std::uint64_t{0} >> (max_sites - world));
  }
  static SiteSet of(int rank) { return SiteSet(std::uint64_t{1} << rank); }

  // REQUIRES, of both: 0 <= rank < max_sites.
  bool has(int rank) const { return (bits_ >> rank & 1) != 0; }
  int place_of(int rank) const { return (*this & first(rank)).size(); }  // how many are below it

  bool empty() const { return bits_ == 0; }
  int size() const { return std::popcount(bits_); }
  bool within(SiteSet other) const { return (bits_ & ~other.bits_) == 0; }
  std::vector<int> ranks() const {
    std::vector<int> ranks;
    for (std::uint64_t rest = bits_; rest != 0; rest &= rest - 1)
      ranks.push_back(std::countr_zero(rest));
    return ranks;
  }
  std::uint64_t bits() const { return bits_; }

  SiteSet operator|(SiteSet other) const { return SiteSet(bits_ | other.bits_); }
  SiteSet operator&(SiteSet other) const { return SiteSet(bits_ & other.bits_); }
  SiteSet operator-(SiteSet other) const { return SiteSet(bits_ & ~other.bits_); }
  friend bool operator==(const SiteSet&, const SiteSet&) = default;

 private:
  static_assert(max_sites == 64);
  std::uint64_t bits_ = 0;
};

}  // namespace isthmus
