// Channel: whole frames over one stream, for everything that is not bulk data: joining, handshakes,
// control.
//
// Nothing blocks. Outgoing frames wait in a queue of limited size until flush() can write them.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "net/frame.hpp"
#include "net/stream.hpp"

namespace isthmus {

struct Message {
  Header header;
  std::vector<std::byte> payload;
};

class Channel {
 public:
  // More than this waiting to be written means that the peer does not read: a wire_error.
  static constexpr std::size_t max_queue_bytes = 64 << 20;

  explicit Channel(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  // Queues a frame; header.length is set here. REQUIRES: payload.size() <= max_payload_bytes.
  void send(Header header, ByteView payload = {});
  // Writes what the stream takes now.
  Status flush();
  bool flushed() const { return queue_.empty(); }

  // The next whole frame, nothing, or why there will be no more. `max_payload` bounds what is
  // allocated for a frame before anybody vouches for the sender.
  Result<std::optional<Message>> receive(std::uint32_t max_payload = max_payload_bytes);

  // Why receive() failed: a frame's own checks, or its payload's, did not fit.
  bool damaged() const { return damaged_; }

  // Whether the peer stands there without another word, for who has not been answered must have
  // none. REQUIRES: between_frames().
  bool waits();

  Stream& stream() const { return *stream_; }
  // Gives the stream away; what was read beyond whole frames must be nothing.
  bool between_frames() const { return got_ == 0; }
  std::unique_ptr<Stream> release() { return std::move(stream_); }

  std::uint64_t bytes_sent() const { return bytes_sent_; }
  std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  std::unique_ptr<Stream> stream_;
  std::deque<std::vector<std::byte>> queue_;
  std::size_t queue_bytes_ = 0;
  std::size_t front_written_ = 0;
  HeaderBytes header_{};
  std::size_t got_ = 0;  // of the header and then the payload
  Message message_;
  bool damaged_ = false;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
};

}  // namespace isthmus
