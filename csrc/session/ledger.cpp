#include "session/ledger.hpp"

namespace isthmus {

void Ledger::begun(std::uint64_t operation, std::int64_t now_ns) {
  open_[operation] = {.begun_ns = now_ns, .everywhere_ns = now_ns};
}

void Ledger::begun_everywhere(std::uint64_t operation, std::int64_t now_ns) {
  if (const auto it = open_.find(operation); it != open_.end()) it->second.everywhere_ns = now_ns;
}

void Ledger::moved(std::uint64_t operation, std::int64_t now_ns) {
  const auto it = open_.find(operation);
  if (it != open_.end() && it->second.moved_ns == 0) it->second.moved_ns = now_ns;
}

void Ledger::sent(std::uint64_t elements, std::uint64_t encoded_bytes) {
  stats_.float_bytes += elements * sizeof(float);
  stats_.encoded_bytes += encoded_bytes;
}

void Ledger::reduced(std::uint64_t elements, std::vector<int> contributors) {
  stats_.reduced_bytes += elements * sizeof(float);
  stats_.contributors = std::move(contributors);
}

void Ledger::done(std::uint64_t operation, std::int64_t now_ns) {
  const auto closed = open_.extract(operation);
  if (closed.empty()) return;
  const Times& times = closed.mapped();
  ++stats_.done;
  stats_.flight_ns += now_ns - times.begun_ns;
  stats_.queued_ns += (times.moved_ns == 0 ? now_ns : times.moved_ns) - times.begun_ns;
  stats_.late_ns += times.everywhere_ns - times.begun_ns;
}

}  // namespace isthmus
