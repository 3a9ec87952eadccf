#include "net/control_stream.hpp"

namespace isthmus {

ControlStream::ControlStream(std::unique_ptr<Stream> stream) : channel_(std::move(stream)) {}

void ControlStream::send(Header header, ByteView payload) {
  header.offset = came_;
  if (header.kind != Kind::heartbeat) {
    kept_.push_back({.header = header, .payload = {payload.begin(), payload.end()}});
    kept_bytes_ += header_bytes + payload.size();
  }
  if (stands_) channel_->send(header, payload);
}

Status ControlStream::flush() {
  if (kept_bytes_ > max_kept_bytes)
    return wire_error("it does not say which of our control frames have come");
  return channel_ ? channel_->flush() : Status{};
}

bool ControlStream::flushed() const {
  return stands_ && channel_->flushed();
}

Result<std::optional<Message>> ControlStream::receive(const Header& stamp) {
  std::optional<Message> first = offered_ ? take_offered(stamp) : std::nullopt;
  if (!first && !channel_) return first;
  auto message = first ? Result<std::optional<Message>>(std::move(first)) : channel_->receive();
  if (!message.ok() || !message->has_value()) return message;
  Header& header = (*message)->header;
  if (!stands_ && header.kind != Kind::heartbeat)
    return wire_error("its first word by a new control stream is no heartbeat");
  if (auto s = acknowledge(std::exchange(header.offset, 0)); !s.ok()) return s;
  if (!stands_) go_on();
  return message;
}

// The first word by it, if that has come: then it takes the other one's place.
std::optional<Message> ControlStream::take_offered(const Header& stamp) {
  auto word = offered_->receive(0);
  if (word.ok() && !word->has_value()) return std::nullopt;
  std::optional<Channel> mine = std::exchange(offered_, std::nullopt);
  if (!word.ok()) return std::nullopt;  // the peer will dial again
  drop();
  channel_ = std::move(mine);
  greet(stamp);
  return std::move(*word);
}

Status ControlStream::acknowledge(std::uint64_t count) {
  if (count > known_ + kept_.size())
    return wire_error("it says to have control frames that were never sent");
  for (; known_ < count; ++known_) {  // what is sent again says what was true before
    kept_bytes_ -= header_bytes + kept_.front().payload.size();
    kept_.pop_front();
  }
  return {};
}

void ControlStream::drop() {
  stands_ = false;
  if (!channel_) return;
  last_path_ = path();
  gone_sent_ += channel_->bytes_sent();
  gone_received_ += channel_->bytes_received();
  channel_.reset();
}

void ControlStream::take_over(std::unique_ptr<Stream> stream, Header stamp) {
  drop();
  channel_.emplace(std::move(stream));
  greet(stamp);
}

void ControlStream::offer(std::unique_ptr<Stream> stream) {
  offered_.emplace(std::move(stream));
}

void ControlStream::greet(Header stamp) {
  stamp.kind = Kind::heartbeat;
  stamp.operation = 0;
  stamp.offset = came_;
  channel_->send(stamp);
}

void ControlStream::go_on() {
  stands_ = true;
  ++streams_;
  for (const Message& message : kept_) channel_->send(message.header, message.payload);
}

PathInfo ControlStream::path() const {
  if (!channel_) return last_path_;
  PathInfo path = channel_->stream().path();
  path.retransmits += last_path_.retransmits;
  path.segments += last_path_.segments;
  return path;
}

void ControlStream::shut_write() {
  if (channel_) channel_->stream().shut_write();
}

}  // namespace isthmus
