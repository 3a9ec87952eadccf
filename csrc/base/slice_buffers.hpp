// SliceBuffers: memory for slices, taken and given back without malloc and never zeroed. One pool
// serves operation after operation: fresh pages cost more than what is done with them. What was not
// needed for a long time goes back to the system.
//
// One thread. The pool must outlive its buffers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/memory.hpp"

namespace isthmus {

class SliceBuffers {
 public:
  static constexpr int long_time = 1 << 16;  // buffers taken: of gigabytes, or of many steps

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

  explicit SliceBuffers(std::size_t max_idle_bytes = 128 << 20) : max_idle_bytes_(max_idle_bytes) {}
  SliceBuffers(const SliceBuffers&) = delete;
  SliceBuffers& operator=(const SliceBuffers&) = delete;

  // The last one given back comes first: it is the likeliest to be in the cache.
  Buffer take(std::size_t bytes);

  std::size_t idle_bytes() const { return idle_bytes_; }

 private:
  struct Shelf {
    std::vector<Memory> idle;
    std::size_t unneeded = 0;  // so many were always idle, since this was last looked at
  };

  Shelf& shelf_of(std::size_t size);
  void give_back(Memory memory);
  void drop_unneeded();

  std::array<Shelf, 64> shelves_;  // by the logarithm of the size
  std::size_t max_idle_bytes_;
  std::size_t idle_bytes_ = 0;
  std::uint64_t taken_ = 0;
};

using Buffer = SliceBuffers::Buffer;

}  // namespace isthmus
