#include "session/buffers.hpp"

namespace isthmus {
Buffers::Lease Buffers::lease(std::size_t bytes) {
  ++leases_;
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it)
    if (it->capacity() >= bytes && it->capacity() / 2 <= bytes &&
        (best == idle_.end() || it->capacity() <= best->capacity()))
      best = it;
  if (best == idle_.end()) return Lease(*this, allocate(bytes), bytes);
  Memory memory = std::move(best->memory);
  idle_.erase(best);
  return Lease(*this, std::move(memory), bytes);
}

std::size_t Buffers::idle_bytes() const {
  std::size_t bytes = 0;
  for (const Idle& idle : idle_) bytes += idle.capacity();
  return bytes;
}

void Buffers::take_back(Memory memory) {
  while (!idle_.empty() && leases_ - idle_.front().since > long_time) idle_.pop_front();
  idle_.push_back({std::move(memory), leases_});
}

}  // namespace isthmus
