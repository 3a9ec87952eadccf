#include "collective/schedule.hpp"

#include <algorithm>

namespace isthmus {

Span share(std::uint64_t elements, std::uint32_t block, int world, int owner) {
  const auto owners = static_cast<std::uint64_t>(world);
  const auto index = static_cast<std::uint64_t>(owner);
  const std::uint64_t blocks = elements / block + (elements % block != 0 ? 1 : 0);
  const std::uint64_t each = blocks / owners;
  const std::uint64_t larger = blocks % owners;  // the first owners have one block more
  const std::uint64_t first = index * each + std::min(index, larger);
  const std::uint64_t last = first + each + (index < larger ? 1 : 0);
  const std::uint64_t begin = std::min(first * block, elements);
  return {begin, std::min(last * block, elements) - begin};
}

}  // namespace isthmus
