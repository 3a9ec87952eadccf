#include "net/channel.hpp"

#include "base/check.hpp"
#include "net/crc32c.hpp"

namespace isthmus {

void Channel::send(Header header, ByteView payload) {
  ISTHMUS_CHECK(payload.size() <= max_payload_bytes);
  header.length = static_cast<std::uint32_t>(payload.size());
  header.payload_check = crc32c(payload);
  const HeaderBytes head = to_bytes(header);
  std::vector<std::byte> frame(head.begin(), head.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  queue_bytes_ += frame.size();
  queue_.push_back(std::move(frame));
}

Status Channel::flush() {
  while (!queue_.empty()) {
    const ByteView rest = ByteView(queue_.front()).subspan(front_written_);
    const auto wrote = stream_->write(std::span(&rest, 1));
    if (!wrote.ok()) return wrote.status();
    bytes_sent_ += *wrote;
    front_written_ += *wrote;
    if (front_written_ < queue_.front().size()) break;
    queue_bytes_ -= queue_.front().size();
    queue_.pop_front();
    front_written_ = 0;
  }
  if (queue_bytes_ > max_queue_bytes)
    return wire_error("the peer at " + stream_->peer_address() + " does not read what we send");
  return {};
}

Result<std::optional<Message>> Channel::receive(std::uint32_t max_payload) {
  while (true) {
    const bool in_header = got_ < header_bytes;
    const ByteSpan into = in_header ? ByteSpan(header_).subspan(got_)
                                    : ByteSpan(message_.payload).subspan(got_ - header_bytes);
    if (!into.empty()) {
      const auto got = stream_->read(std::span(&into, 1));
      if (!got.ok()) return got.status();
      if (*got == 0) return std::optional<Message>{};
      bytes_received_ += *got;
      got_ += *got;
      if (*got < into.size()) continue;
    }
    if (in_header) {
      auto header = parse_header(header_);
      damaged_ = !header.ok() && !is_intact(header_);
      if (!header.ok()) return header.status();
      if (header->length > max_payload)
        return wire_error("a frame of " + std::to_string(header->length) + " bytes where at most " +
                          std::to_string(max_payload) + " may come");
      message_.header = *header;
      message_.payload.resize(header->length);
      if (header->length > 0) continue;
    }
    if (const auto check = message_.header.payload_check;
        check != 0 && check != crc32c(message_.payload)) {
      damaged_ = true;
      return wire_error("the payload of a frame arrived damaged (wrong check)");
    }
    message_.header.payload_check = 0;  // it is seen to
    got_ = 0;
    return std::optional<Message>(std::exchange(message_, {}));
  }
}

bool Channel::waits() {
  const auto message = receive(0);
  return message.ok() && !message->has_value() && between_frames();
}

}  // namespace isthmus
