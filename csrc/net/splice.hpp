// Splice: two streams that are one; what comes on either leaves on the other, unread.
//
// It holds at most buffer_bytes for each way and reads no more before they have left: whoever sends
// faster than the other end reads is held back by TCP itself. The end of one way is passed on after
// the last byte that came before it; a way that breaks ends both.
#pragma once

#include <array>
#include <memory>

#include "base/clock.hpp"
#include "net/stream.hpp"

namespace isthmus {

class Splice {
 public:
  static constexpr std::size_t buffer_bytes = 64 << 10;

  Splice(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b);

  // Moves what can be moved. False: both ways have ended, and the streams may be closed.
  bool step(std::int64_t now_ns);
  // When step() wants to be called again if nothing happens.
  std::int64_t deadline_ns() const;

  std::uint64_t bytes_passed() const { return bytes_passed_; }

 private:
  struct Way {
    Stream* from;
    Stream* to;
    std::unique_ptr<std::byte[]> buffer{};  // none while nothing waits
    std::size_t begin = 0, end = 0;         // of what waits in it
    bool ended = false;                     // `from` brings nothing more
    bool over = false;                      // and `to` has been told
  };

  bool move(Way& way);
  bool fill(Way& way);

  std::unique_ptr<Stream> a_, b_;
  std::array<Way, 2> ways_;
  std::uint64_t bytes_passed_ = 0;
  std::uint64_t passed_before_ = 0;
  std::int64_t patience_ends_ns_ = never_ns;  // once one way is over
  bool more_ = false;                         // a budget was used up; there is more to move
};

}  // namespace isthmus
