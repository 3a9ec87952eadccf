// SliceBuffers: memory for slices, all of one size, taken and given back without malloc and never
// zeroed.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace isthmus {

using Buffer = std::unique_ptr<std::byte[]>;

class SliceBuffers {
 public:
  explicit SliceBuffers(std::size_t bytes_each) : bytes_each_(bytes_each) {}

  // The last one given back comes first: it is the likeliest to be in the cache.
  Buffer take() {
    if (free_.empty()) return std::make_unique_for_overwrite<std::byte[]>(bytes_each_);
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  void give_back(Buffer buffer) {
    if (buffer) free_.push_back(std::move(buffer));
  }

 private:
  std::size_t bytes_each_;
  std::vector<Buffer> free_;
};

}  // namespace isthmus
