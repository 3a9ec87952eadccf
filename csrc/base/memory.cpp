#include "base/memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace isthmus {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t huge_page_bytes = 2 << 20;
#if defined(__SANITIZE_ADDRESS__)  // which sees what is written beyond a block of malloc's
constexpr std::size_t large_bytes = std::numeric_limits<std::size_t>::max();
#else
constexpr std::size_t large_bytes = 32 << 10;  // for less, a system call is too much
#endif

constexpr std::size_t whole(std::size_t bytes, std::size_t grain) {
  return (bytes + grain - 1) / grain * grain;
}

[[noreturn]] void give_up(std::size_t bytes) {
  std::fprintf(stderr, "isthmus: there is no memory for another %zu bytes\n", bytes);
  std::abort();
}

std::byte* mapped(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up(bytes);
  return static_cast<std::byte*>(memory);
}

// A huge page begins where its number says: map one more, and cut off what is before and after.
std::byte* mapped_huge(std::size_t bytes) {
  std::byte* memory = mapped(bytes + huge_page_bytes);
  const std::size_t off = reinterpret_cast<std::uintptr_t>(memory) % huge_page_bytes;
  const std::size_t before = (huge_page_bytes - off) % huge_page_bytes;
  if (before > 0) munmap(memory, before);
  memory += before;
  munmap(memory + bytes, huge_page_bytes - before);
  madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace

void Release::operator()(std::byte* memory) const {
  if (bytes < large_bytes) {
    std::free(memory);
  } else {
    munmap(memory, bytes);
  }
}

Memory allocate(std::size_t bytes) {
  if (bytes < large_bytes) {
    auto* memory = static_cast<std::byte*>(std::malloc(bytes));
    if (memory == nullptr && bytes > 0) give_up(bytes);
    return Memory(memory, {bytes});
  }
  if (bytes < huge_page_bytes) {
    bytes = whole(bytes, page_bytes);
    return Memory(mapped(bytes), {bytes});
  }
  bytes = whole(bytes, huge_page_bytes);
  return Memory(mapped_huge(bytes), {bytes});
}

}  // namespace isthmus
