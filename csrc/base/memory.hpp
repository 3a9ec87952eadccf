// Memory: a block that is not zeroed. A large one is the kernel's again once it is freed.
//
// malloc keeps freed blocks for the thread that asked for them, and the more the larger the blocks
// are that it has seen: with new threads in each epoch, a process would grow with them
// (docs/decisions/0018-memory-goes-back.md).
#pragma once

#include <cstddef>
#include <memory>

namespace isthmus {

struct Release {
  std::size_t bytes = 0;
  void operator()(std::byte* memory) const;
};

using Memory = std::unique_ptr<std::byte, Release>;

// At least so many bytes, as many as its deleter says; on huge pages if it is that large. A process
// without memory ends, as the kernel would end it.
Memory allocate(std::size_t bytes);

}  // namespace isthmus
