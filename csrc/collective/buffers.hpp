// SliceBuffers: memory for slices, taken and given back without malloc and never zeroed. One pool
// serves operation after operation: fresh pages cost more than what is done with them. What was not
// needed for a long time goes back to the system.
//
// One thread. The pool must outlive its buffers.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/memory.hpp"

namespace isthmus {

class SliceBuffers {
 public:
  static constexpr std::size_t max_idle_bytes = 128 << 20;
  static constexpr int long_time = 8192;  // buffers taken: of several gigabytes

  class Return {
   public:
    Return() = default;
    Return(SliceBuffers& home, std::size_t bytes) : home_(&home), bytes_(bytes) {}
    void operator()(std::byte* memory) const { home_->give_back(Memory(memory, {bytes_})); }

   private:
    SliceBuffers* home_ = nullptr;
    std::size_t bytes_ = 0;
  };
  using Buffer = std::unique_ptr<std::byte[], Return>;

  SliceBuffers() = default;
  SliceBuffers(const SliceBuffers&) = delete;
  SliceBuffers& operator=(const SliceBuffers&) = delete;

  // The last one given back comes first: it is the likeliest to be in the cache.
  Buffer take(std::size_t bytes) {
    if (++taken_ % long_time == 0) drop_unneeded();
    const std::size_t size = std::bit_ceil(bytes);
    Shelf& shelf = shelf_of(size);
    if (shelf.idle.empty()) return lent(allocate(size), size);
    Memory memory = std::move(shelf.idle.back());
    shelf.idle.pop_back();
    shelf.unneeded = std::min(shelf.unneeded, shelf.idle.size());
    idle_bytes_ -= size;
    return lent(std::move(memory), size);
  }

  std::size_t idle_bytes() const { return idle_bytes_; }

 private:
  struct Shelf {
    std::vector<Memory> idle;
    std::size_t unneeded = 0;  // so many were always idle, since this was last looked at
  };

  Buffer lent(Memory memory, std::size_t size) { return {memory.release(), {*this, size}}; }

  Shelf& shelf_of(std::size_t size) {
    return shelves_[static_cast<std::size_t>(std::countr_zero(size))];
  }

  void give_back(Memory memory) {
    const std::size_t size = memory.get_deleter().bytes;
    if (idle_bytes_ + size > max_idle_bytes) return;
    shelf_of(size).idle.push_back(std::move(memory));
    idle_bytes_ += size;
  }

  void drop_unneeded() {
    for (Shelf& shelf : shelves_) {
      for (std::size_t i = 0; i < shelf.unneeded; ++i)
        idle_bytes_ -= shelf.idle[i].get_deleter().bytes;
      shelf.idle.erase(shelf.idle.begin(),
                       shelf.idle.begin() + static_cast<std::ptrdiff_t>(shelf.unneeded));
      shelf.unneeded = shelf.idle.size();
    }
  }

  std::array<Shelf, 64> shelves_;  // by the logarithm of the size
  std::size_t idle_bytes_ = 0;
  std::uint64_t taken_ = 0;
};

using Buffer = SliceBuffers::Buffer;

}  // namespace isthmus
