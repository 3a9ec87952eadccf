// Buffers: large blocks of memory, uninitialised and used again. The pages of a fresh 100 MB cost
// as much as a copy.
//
// One thread. The pool must outlive its buffers.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.hpp"

namespace isthmus {

class Buffers {
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  struct Block {
    std::unique_ptr<std::byte, Free> memory;
    std::size_t capacity = 0;
  };

 public:
  class Lease {
   public:
    Lease() = default;
    Lease(Buffers& home, Block block, std::size_t size)
        : home_(&home), block_(std::move(block)), size_(size) {}
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      std::swap(home_, other.home_);
      std::swap(block_, other.block_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Lease() {
      if (home_ != nullptr && block_.memory != nullptr) home_->take_back(std::move(block_));
    }
    ByteSpan bytes() const { return {block_.memory.get(), size_}; }
    std::span<float> floats() const {
      return {reinterpret_cast<float*>(block_.memory.get()), size_ / sizeof(float)};
    }

   private:
    Buffers* home_ = nullptr;
    Block block_;
    std::size_t size_ = 0;
  };

  // The smallest idle block that fits, or a new one.
  Lease lease(std::size_t bytes);

 private:
  void take_back(Block block);

  std::vector<Block> idle_;
};

}  // namespace isthmus
