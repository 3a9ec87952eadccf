#include "session/buffers.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "base/check.hpp"

namespace isthmus {
namespace {

constexpr std::size_t max_idle_blocks = 32;
constexpr std::size_t huge_page_bytes = 2 << 20;
constexpr std::size_t page_bytes = 4096;

}  // namespace

Buffers::Lease Buffers::lease(std::size_t bytes) {
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it)
    if (it->capacity >= bytes && it->capacity / 2 <= bytes &&
        (best == idle_.end() || it->capacity < best->capacity))
      best = it;
  if (best != idle_.end()) {
    Block block = std::move(*best);
    idle_.erase(best);
    return Lease(*this, std::move(block), bytes);
  }
  const std::size_t grain = bytes >= huge_page_bytes ? huge_page_bytes : page_bytes;
  const std::size_t capacity = std::max<std::size_t>(1, (bytes + grain - 1) / grain) * grain;
  Block block;
  block.memory.reset(static_cast<std::byte*>(std::aligned_alloc(grain, capacity)));
  ISTHMUS_CHECK(block.memory != nullptr);
  block.capacity = capacity;
  if (grain == huge_page_bytes) madvise(block.memory.get(), capacity, MADV_HUGEPAGE);
  return Lease(*this, std::move(block), bytes);
}

void Buffers::take_back(Block block) {
  if (idle_.size() == max_idle_blocks) idle_.erase(idle_.begin());  // the one unused for longest
  idle_.push_back(std::move(block));
}

}  // namespace isthmus
