// Early: what peers sent for operations that this site has not begun.
//
// Sites do not begin an operation at the same instant, and waiting for the last one would cost a
// round trip; so a peer may send ahead, and what it sends is kept here. Bounded per peer: a sender
// counts what it sends ahead and stops at window_bytes; one that does not stop is a wire_error.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "base/slice_buffers.hpp"
#include "net/frame.hpp"
#include "session/request.hpp"

namespace isthmus {

class Early {
 public:
  static constexpr std::uint64_t window_bytes = 64 << 20;
  // The receiver's limit is wider: it counts a little longer than the sender, small slices at what
  // they cost, and announcements.
  static constexpr std::uint64_t limit_bytes = 3 * window_bytes;
  static constexpr std::uint64_t max_operations_ahead = 4096;

  // `buffers` must outlive this.
  Early(int world, SliceBuffers& buffers)
      : buffers_(buffers), bytes_(static_cast<std::size_t>(world)) {}

  Result<ByteSpan> place(int peer, const Header& header);
  // True if this slice was placed here, and just at `place`: a peer may lie and send it twice.
  bool holds(int peer, const Header& header, const std::byte* place) const;
  void arrived(int peer, const Header& header);

  Status announce(int peer, std::uint64_t operation, Announcement announcement);

  struct Slice {
    int peer = -1;
    Header header;
    Buffer bytes;
    bool whole = false;
  };
  // Gives up what is whole of the peer's part in `operation`, in a fixed order.
  std::vector<Slice> take_slices(int peer, std::uint64_t operation, std::uint32_t generation);
  // What is of an older generation was for nothing.
  void forget_before(std::uint32_t generation);
  Slice take(int peer, const Header& header);
  std::map<int, Announcement> take_announcements(std::uint64_t operation);

 private:
  using Key = std::tuple<std::uint64_t, int, std::uint32_t, std::uint32_t, std::uint64_t>;
  static Key key(int peer, const Header& h) {
    return {h.operation, peer, h.generation, h.transfer, h.offset};
  }

  SliceBuffers& buffers_;
  std::vector<std::uint64_t> bytes_;  // by peer
  std::map<Key, Slice> slices_;
  std::map<std::uint64_t, std::map<int, Announcement>> announcements_;
};

}  // namespace isthmus
