#include "session/early.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// A slice takes memory beside its payload.
std::uint64_t cost(const Header& header) {
  return std::max<std::uint64_t>(header.length, 1024);
}

}  // namespace

bool Early::holds(int peer, const Header& header, const std::byte* place) const {
  const auto found = slices_.find(key(peer, header));
  return found != slices_.end() && found->second.bytes.get() == place;
}

Result<ByteSpan> Early::place(int peer, const Header& header) {
  auto& kept = bytes_[static_cast<std::size_t>(peer)];
  if (kept + cost(header) > limit_bytes)
    return wire_error(
        "it sent more than " + std::to_string(limit_bytes >> 20) + " MiB ahead of our operations",
        peer);
  Slice slice{
      .peer = peer, .header = header, .bytes = buffers_.take(header.length), .whole = false};
  const ByteSpan place(slice.bytes.get(), header.length);
  if (!slices_.emplace(key(peer, header), std::move(slice)).second)
    return wire_error("it sent a slice twice", peer);
  kept += cost(header);
  return place;
}

void Early::arrived(int peer, const Header& header) {
  slices_.at(key(peer, header)).whole = true;
}

Status Early::announce(int peer, std::uint64_t operation, Announcement announcement) {
  auto& kept = bytes_[static_cast<std::size_t>(peer)];
  if (kept + announcement.payload.size() > limit_bytes)
    return wire_error("its announcements are too far ahead of our operations", peer);
  kept += announcement.payload.size();
  if (!announcements_[operation].emplace(peer, std::move(announcement)).second)
    return wire_error("it announced an operation twice", peer);
  return {};
}

std::vector<Early::Slice> Early::take_slices(int peer, std::uint64_t operation,
                                             std::uint32_t generation) {
  std::vector<Slice> taken;
  auto it = slices_.lower_bound({operation, peer, generation, 0, 0});
  while (it != slices_.end() && std::get<0>(it->first) == operation &&
         std::get<1>(it->first) == peer && std::get<2>(it->first) == generation) {
    if (it->second.whole) {
      bytes_[static_cast<std::size_t>(it->second.peer)] -= cost(it->second.header);
      taken.push_back(std::move(it->second));
      it = slices_.erase(it);
    } else {
      ++it;
    }
  }
  return taken;
}

void Early::forget_before(std::uint32_t generation) {
  std::erase_if(slices_, [&](const auto& entry) {
    if (std::get<2>(entry.first) >= generation) return false;
    bytes_[static_cast<std::size_t>(entry.second.peer)] -= cost(entry.second.header);
    return true;
  });
}

Early::Slice Early::take(int peer, const Header& header) {
  auto node = slices_.extract(key(peer, header));
  bytes_[static_cast<std::size_t>(peer)] -= cost(header);
  return std::move(node.mapped());
}

std::map<int, Announcement> Early::take_announcements(std::uint64_t operation) {
  auto node = announcements_.extract(operation);
  if (node.empty()) return {};
  for (const auto& [peer, announcement] : node.mapped())
    bytes_[static_cast<std::size_t>(peer)] -= announcement.payload.size();
  return std::move(node.mapped());
}

}  // namespace isthmus
