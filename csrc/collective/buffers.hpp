// SliceBuffers: memory for slices, taken and given back without malloc and never zeroed. One pool
// serves operation after operation: fresh pages cost more than what is done with them.
//
// One thread. The pool must outlive its buffers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace isthmus {

class SliceBuffers {
  using Memory = std::unique_ptr<std::byte[]>;

 public:
  static constexpr std::size_t max_idle_bytes = 128 << 20;

  class Return {
   public:
    Return() = default;
    Return(SliceBuffers& home, std::size_t bytes) : home_(&home), bytes_(bytes) {}
    void operator()(std::byte* memory) const { home_->give_back(Memory(memory), bytes_); }

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
    const std::size_t size = std::bit_ceil(bytes);
    auto& idle = idle_[static_cast<std::size_t>(std::countr_zero(size))];
    if (idle.empty()) {
      return Buffer(std::make_unique_for_overwrite<std::byte[]>(size).release(), {*this, size});
    }
    Memory memory = std::move(idle.back());
    idle.pop_back();
    idle_bytes_ -= size;
    return Buffer(memory.release(), {*this, size});
  }

 private:
  void give_back(Memory memory, std::size_t size) {
    if (idle_bytes_ + size > max_idle_bytes) return;
    idle_[static_cast<std::size_t>(std::countr_zero(size))].push_back(std::move(memory));
    idle_bytes_ += size;
  }

  std::array<std::vector<Memory>, 64> idle_;  // by the logarithm of their size
  std::size_t idle_bytes_ = 0;
};

using Buffer = SliceBuffers::Buffer;

}  // namespace isthmus
