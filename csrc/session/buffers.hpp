// Buffers: large blocks of memory, uninitialised and used again. The pages of a fresh 100 MB cost
// as much as a copy. What was not used again for a long time goes back to the system.
//
// One thread. The pool must outlive its buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "base/bytes.hpp"
#include "base/memory.hpp"

namespace isthmus {

class Buffers {
 public:
  static constexpr int long_time = 4096;  // leases: of steps with hundreds of buckets

  class Lease {
   public:
    Lease() = default;
    Lease(Buffers& home, Memory memory, std::size_t size)
        : home_(&home), memory_(std::move(memory)), size_(size) {}
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      std::swap(home_, other.home_);
      std::swap(memory_, other.memory_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Lease() {
      if (home_ != nullptr && memory_ != nullptr) home_->take_back(std::move(memory_));
    }
    ByteSpan bytes() const { return {memory_.get(), size_}; }
    std::span<float> floats() const {
      return {reinterpret_cast<float*>(memory_.get()), size_ / sizeof(float)};
    }

   private:
    Buffers* home_ = nullptr;
    Memory memory_;
    std::size_t size_ = 0;
  };

  // The smallest idle block that fits, of several the one that was used last; or a new one.
  Lease lease(std::size_t bytes);

  std::size_t idle_bytes() const;

 private:
  struct Idle {
    Memory memory;
    std::uint64_t since = 0;  // a lease

    std::size_t capacity() const { return memory.get_deleter().bytes; }
  };

  void take_back(Memory memory);

  std::deque<Idle> idle_;  // the longest first
  std::uint64_t leases_ = 0;
};

}  // namespace isthmus
