#include "collective/schedule.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// How many of `blocks` belong to the owners before this one.
std::uint64_t blocks_before(const Shape& shape, std::uint64_t blocks, int owner) {
  const auto owners = static_cast<std::uint64_t>(shape.world);
  const auto before = static_cast<std::uint64_t>(owner);
  if (shape.shares.empty()) {  // the first owners get one more
    return before * (blocks / owners) + std::min(before, blocks % owners);
  }
  std::uint64_t part = 0;
  for (std::size_t i = 0; i < before; ++i) part += shape.shares[i];
  // In two steps, so that nothing overflows.
  return blocks / whole_share * part +
         (blocks % whole_share * part + whole_share / 2) / whole_share;
}

// Where the share of `owner` would begin if only blocks of the largest granule were dealt out.
std::uint64_t block_boundary(const Shape& shape, int owner) {
  std::uint64_t block = 1;
  for (const Stretch& stretch : shape.stretches) {
    block = std::max<std::uint64_t>(block, stretch.granule);
  }
  const std::uint64_t elements = shape.elements();
  const std::uint64_t blocks = elements / block + (elements % block != 0 ? 1 : 0);
  return std::min(blocks_before(shape, blocks, owner) * block, elements);
}

// There, or at the next place where a cut is allowed.
std::uint64_t boundary(const Shape& shape, int owner) {
  const std::uint64_t at = block_boundary(shape, owner);
  std::uint64_t begin = 0;
  for (const Stretch& stretch : shape.stretches) {
    if (at < begin + stretch.elements) {
      const std::uint64_t granules = (at - begin + stretch.granule - 1) / stretch.granule;
      return begin + std::min(granules * stretch.granule, stretch.elements);
    }
    begin += stretch.elements;
  }
  return begin;
}

}  // namespace

std::uint64_t Shape::elements() const {
  std::uint64_t sum = 0;
  for (const Stretch& stretch : stretches) sum += stretch.elements;
  return sum;
}

Shares whole(const Shares& shares) {
  std::uint64_t sum = 0;
  for (const std::uint32_t part : shares) sum += part;
  if (sum == 0) return {};
  Shares scaled;
  // As differences of rounded ends, so that nothing is lost.
  std::uint64_t end = 0;
  std::uint64_t before = 0;
  for (const std::uint32_t part : shares) {
    end += part;
    const std::uint64_t scaled_end = end * whole_share / sum;
    scaled.push_back(static_cast<std::uint32_t>(scaled_end - before));
    before = scaled_end;
  }
  return scaled;
}

Span share(const Shape& shape, int owner) {
  const std::uint64_t begin = boundary(shape, owner);
  return {begin, boundary(shape, owner + 1) - begin};
}

Schedule make_schedule(Algorithm algorithm, const Shape& shape, int root) {
  switch (algorithm) {
    case Algorithm::direct:
      return direct_all_reduce(shape);
    case Algorithm::gather:
      return gather_all_reduce(shape);
    case Algorithm::ring:
      return ring_all_reduce(shape);
    case Algorithm::broadcast:
      return broadcast(shape, root);
    case Algorithm::swap:
      return swap(shape, root);
    case Algorithm::hand:
      return hand(shape, root, shape.order);
  }
  return {};
}

}  // namespace isthmus
