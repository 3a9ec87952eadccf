#include "session/early.hpp"

namespace isthmus {

Result<ByteSpan> Early::place(int peer, const Header& header) {
  auto& kept = bytes_[static_cast<std::size_t>(peer)];
  if (kept + header.length > window_bytes)
    return wire_error(
        "it sent more than " + std::to_string(window_bytes >> 20) + " MiB ahead of our operations",
        peer);
  Slice slice{.peer = peer, .header = header, .bytes = nullptr, .whole = false};
  slice.bytes = std::make_unique_for_overwrite<std::byte[]>(header.length);
  const ByteSpan place(slice.bytes.get(), header.length);
  if (!slices_.emplace(key(peer, header), std::move(slice)).second)
    return wire_error("it sent a slice twice", peer);
  kept += header.length;
  return place;
}

void Early::arrived(int peer, const Header& header) {
  slices_.at(key(peer, header)).whole = true;
}

Status Early::announce(int peer, std::uint64_t operation, Announcement announcement) {
  auto& kept = bytes_[static_cast<std::size_t>(peer)];
  if (kept + announcement.payload.size() > window_bytes)
    return wire_error("its announcements are too far ahead of our operations", peer);
  kept += announcement.payload.size();
  if (!announcements_[operation].emplace(peer, std::move(announcement)).second)
    return wire_error("it announced an operation twice", peer);
  return {};
}

std::vector<Early::Slice> Early::take_slices(int peer, std::uint64_t operation) {
  std::vector<Slice> taken;
  auto it = slices_.lower_bound({operation, peer, 0, 0});
  while (it != slices_.end() && std::get<0>(it->first) == operation &&
         std::get<1>(it->first) == peer) {
    if (it->second.whole) {
      bytes_[static_cast<std::size_t>(it->second.peer)] -= it->second.header.length;
      taken.push_back(std::move(it->second));
      it = slices_.erase(it);
    } else {
      ++it;
    }
  }
  return taken;
}

Early::Slice Early::take(int peer, const Header& header) {
  auto node = slices_.extract(key(peer, header));
  bytes_[static_cast<std::size_t>(peer)] -= header.length;
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
