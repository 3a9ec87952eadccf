#include "base/slice_buffers.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.hpp"

namespace isthmus {

Buffer SliceBuffers::take(std::size_t bytes) {
  if (++taken_ % long_time == 0) drop_unneeded();
  const std::size_t size = std::bit_ceil(bytes);
  Shelf& shelf = shelf_of(size);
  if (shelf.idle.empty()) {
    Memory memory = allocate(size);
    ISTHMUS_CHECK(memory.get_deleter().bytes == size);  // or it would come back to another shelf
    return {memory.release(), {*this, size}};
  }
  std::byte* memory = shelf.idle.back().release();
  shelf.idle.pop_back();
  shelf.unneeded = std::min(shelf.unneeded, shelf.idle.size());
  idle_bytes_ -= size;
  return {memory, {*this, size}};
}

SliceBuffers::Shelf& SliceBuffers::shelf_of(std::size_t size) {
  return shelves_[static_cast<std::size_t>(std::countr_zero(size))];
}

void SliceBuffers::give_back(Memory memory) {
  const std::size_t size = memory.get_deleter().bytes;
  if (idle_bytes_ + size > max_idle_bytes_) return;
  shelf_of(size).idle.push_back(std::move(memory));
  idle_bytes_ += size;
}

void SliceBuffers::drop_unneeded() {
  for (Shelf& shelf : shelves_) {
    const auto kept = shelf.idle.begin() + static_cast<std::ptrdiff_t>(shelf.unneeded);
    std::for_each(shelf.idle.begin(), kept,
                  [this](const Memory& memory) { idle_bytes_ -= memory.get_deleter().bytes; });
    shelf.idle.erase(shelf.idle.begin(), kept);
    shelf.unneeded = shelf.idle.size();
  }
}

}  // namespace isthmus
