// DataStream: one of the streams by which a link moves data: what is on its way out and in, and
// what was sent and is not known to have come. Values only; Link moves the bytes.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "base/clock.hpp"
#include "base/memory.hpp"
#include "base/slice_buffers.hpp"
#include "net/frame.hpp"
#include "net/stream.hpp"

namespace isthmus {

// As a member: the whole can be moved, not copied. A vector that grows copies what may throw when
// it moves, as a deque may, and the views of a copy would show what it was copied from.
struct MoveOnly {
  MoveOnly() = default;
  MoveOnly(MoveOnly&&) noexcept = default;
  MoveOnly& operator=(MoveOnly&&) noexcept = default;
};

// A data frame on its way out. `pieces` stay valid until sent(), or, where they are `lent` by
// somebody whose memory outlasts that, until detach() or forget().
struct OutFrame {
  Header header;
  int count = 0;
  std::array<ByteView, 3> pieces;
  bool lent = false;
  int send = -1;  // this and the next are for the Traffic that made it
  std::size_t slice = 0;
};

// A frame that the peer is not known to have.
struct Owed {
  OutFrame frame;
  Buffer copy{};      // of its pieces, where their memory is needed; `frame` shows it then
  bool told = false;  // sent() was called for it
  bool moot = false;  // of no use to anybody any more: not to be sent again

  void detach(SliceBuffers& buffers);
  void drop();  // it is moot, and refers to nothing
};

// A slice that came in part, by a stream that broke; it comes again.
struct Unfinished {
  Header header;
  ByteSpan payload;
  Memory unwanted;  // `payload` may show it

  bool is(const Header& again) const;
};

struct DataStream {
  std::unique_ptr<Stream> stream;
  std::uint16_t number = 0;  // no other stream of the link ever has it
  // Out: the frame, its header, and how much of both has left.
  std::optional<Owed> out{};
  HeaderBytes out_header{};
  std::size_t written = 0;
  std::deque<Owed> owed{};  // has left
  std::uint64_t known = 0;  // slices that the peer has said to have
  // In: a header, then its payload.
  HeaderBytes in_header{};
  std::size_t got = 0;
  std::optional<Header> header{};
  ByteSpan payload{};
  std::uint32_t check = 0;           // of what is in of it
  Memory unwanted{};                 // where a payload that was let go comes to lie
  std::uint64_t came = 0, said = 0;  // whole slices; of these, that the peer has been told of
  bool ended = false;
  bool damaged = false;  // what it brings is no good
  std::string why{};     // it ended
  std::int64_t broken_since_ns = never_ns;
  // Of a stream that comes or goes.
  bool greets = false;    // a heartbeat is due: our first word, or a sign that we live
  bool asks = false;      // that asks for an answer
  bool unproven = false;  // the peer's first word has not come
  bool replaces = false;  // one that broke
  bool leaves = false;    // no further frames
  bool last_said = false, last_heard = false;

  bool gone() const {
    return ended && (unproven || (last_said && last_heard && owed.empty() && said == came));
  }
  bool broken() const { return ended && !unproven && !last_heard; }
  bool carries() const { return !ended && !unproven && !leaves; }
};

// A stream that is closed here: until the peer says how much of it has come.
struct Broken {
  std::uint16_t number = 0;
  std::uint64_t known = 0;
  std::deque<Owed> owed{};
  std::size_t cut = 0;  // of these, at the end: had not left to the last byte
  [[no_unique_address]] MoveOnly its_own{};
};

static_assert(!std::is_copy_constructible_v<Owed> && !std::is_copy_constructible_v<Unfinished> &&
              !std::is_copy_constructible_v<Broken> && !std::is_copy_constructible_v<DataStream>);

}  // namespace isthmus
