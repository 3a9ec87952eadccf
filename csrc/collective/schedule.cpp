#include "collective/schedule.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// Where an even share of `owner` would begin: blocks of the largest granule are dealt out, and the
// first owners get one more.
std::uint64_t even_boundary(const Shape& shape, int owner) {
  std::uint64_t block = 1;
  for (const Stretch& stretch : shape.stretches) {
    block = std::max<std::uint64_t>(block, stretch.granule);
  }
  const std::uint64_t elements = shape.elements();
  const auto owners = static_cast<std::uint64_t>(shape.world);
  const auto before = static_cast<std::uint64_t>(owner);
  const std::uint64_t blocks = elements / block + (elements % block != 0 ? 1 : 0);
  const std::uint64_t dealt = before * (blocks / owners) + std::min(before, blocks % owners);
  return std::min(dealt * block, elements);
}

// There, or at the next place where a cut is allowed.
std::uint64_t boundary(const Shape& shape, int owner) {
  const std::uint64_t even = even_boundary(shape, owner);
  std::uint64_t begin = 0;
  for (const Stretch& stretch : shape.stretches) {
    if (even < begin + stretch.elements) {
      const std::uint64_t granules = (even - begin + stretch.granule - 1) / stretch.granule;
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
  }
  return {};
}

}  // namespace isthmus
