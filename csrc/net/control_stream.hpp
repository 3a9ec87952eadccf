// ControlStream: a link's control frames, by one stream after another.
//
// Every frame but a heartbeat is counted, and kept until the peer has said how many have come: the
// offset of each control frame says so. Where the stream ends alone, another one is taken. Each
// end's first word by that is a heartbeat; what its count lacks is sent again, and then what
// follows. So every frame comes once, and in order.
// (docs/decisions/0017-a-stream-that-dies-alone.md)
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "net/channel.hpp"

namespace isthmus {

class ControlStream {
 public:
  // Of frames that the peer is not known to have; more: it does not read, or does not say so.
  static constexpr std::size_t max_kept_bytes = 2 * Channel::max_queue_bytes;

  explicit ControlStream(std::unique_ptr<Stream> stream);

  // A heartbeat is said now or not at all.
  void send(Header header, ByteView payload = {});
  Status flush();
  bool flushed() const;  // it stands, and nothing waits to be written
  // As a channel's; nothing where there is no stream. `stamp`: of our first word by a new one.
  Result<std::optional<Message>> receive(const Header& stamp);
  // What was received last has been heeded, and is not to come again.
  void heeded(const Header& header) { came_ += header.kind != Kind::heartbeat ? 1 : 0; }
  // Why receive() failed: bytes came changed.
  bool damaged() const { return channel_ && channel_->damaged(); }

  // The stream has ended: closes it. Another one may come.
  void drop();
  // That we have dialled, in the place of one that was dropped.
  void take_over(std::unique_ptr<Stream> stream, Header stamp);
  // That the peer has dialled. From its first word on it is the one that is used, whatever becomes
  // of the other.
  void offer(std::unique_ptr<Stream> stream);
  bool has_stream() const { return channel_ || offered_; }
  // Both first words by it have been said.
  bool stands() const { return stands_; }
  // How many have stood.
  int streams() const { return streams_; }

  void shut_write();
  // Of the stream, or the last one; retransmits and segments of all.
  PathInfo path() const;
  std::uint64_t bytes_sent() const { return gone_sent_ + (channel_ ? channel_->bytes_sent() : 0); }
  std::uint64_t bytes_received() const {
    return gone_received_ + (channel_ ? channel_->bytes_received() : 0);
  }

 private:
  std::optional<Message> take_offered(const Header& stamp);
  Status acknowledge(std::uint64_t count);
  void greet(Header stamp);
  void go_on();

  std::optional<Channel> channel_;
  std::optional<Channel> offered_;
  bool stands_ = true;
  int streams_ = 1;
  std::deque<Message> kept_;     // sent, or to be sent, and not known to have come
  std::size_t kept_bytes_ = 0;   // of their payloads and headers
  std::uint64_t known_ = 0;      // so many have come there
  std::uint64_t came_ = 0;       // here
  std::uint64_t gone_sent_ = 0;  // by streams that are no more
  std::uint64_t gone_received_ = 0;
  PathInfo last_path_;
};

}  // namespace isthmus
