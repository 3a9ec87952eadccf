// Link's data: frames that are read from its data streams and written to them.
#include <algorithm>

#include "net/crc32c.hpp"
#include "net/link.hpp"

namespace isthmus {
namespace {

// A pump moves at most so much a stream before others have their turn.
constexpr std::size_t budget_bytes = 4 << 20;
constexpr int most_damages = 16;  // within a minute

std::uint32_t check_of(const OutFrame& frame) {
  std::uint32_t crc = 0;
  for (int i = 0; i < frame.count; ++i)
    crc = extend_crc32c(crc, frame.pieces[static_cast<std::size_t>(i)]);
  return crc;
}

}  // namespace

Status Link::read_data(DataStream& data, Traffic& traffic) {
  std::size_t budget = budget_bytes;
  while (!data.ended && data.stream->can_read()) {
    if (budget == 0) {
      more_ = true;
      break;
    }
    // The next header rides along with the rest of a payload, so that a frame costs one call.
    std::array<ByteSpan, 2> into;
    std::size_t count = 0;
    if (data.header) into[count++] = data.payload.subspan(data.got);
    into[count++] =
        data.header ? ByteSpan(data.in_header) : ByteSpan(data.in_header).subspan(data.got);
    const auto got = data.stream->read(std::span(into.data(), count));
    if (!got.ok()) return end_of_data(data, got.status());
    if (*got == 0) break;
    heard_ = true;
    stats_.bytes_received += *got;
    budget -= std::min(budget, *got);
    if (auto s = take(data, *got, traffic); !s.ok()) return s;
  }
  return {};
}

// Accounts for `bytes` that were read into the payload and then the header.
Status Link::take(DataStream& data, std::size_t bytes, Traffic& traffic) {
  if (data.header) {
    const std::size_t mine = std::min(bytes, data.payload.size() - data.got);
    // While it lies in a cache.
    if (data.header->payload_check != 0)
      data.check = extend_crc32c(data.check, data.payload.subspan(data.got, mine));
    data.got += mine;
    bytes -= mine;
    if (data.got < data.payload.size()) return {};
    if (data.header->payload_check != 0 && data.check != data.header->payload_check)
      return damaged(data, "a payload arrived damaged");
    if (auto s = take_payload(data, traffic); !s.ok()) return s;
  }
  data.got += bytes;
  return data.got < header_bytes ? Status{} : take_header(data, traffic);
}

Status Link::take_payload(DataStream& data, Traffic& traffic) {
  const Header done = *data.header;
  data.header.reset();
  data.got = 0;
  ++data.came;
  ++stats_.frames_received;
  stats_.payload_received += done.length;
  unsaid_bytes_ += done.length;
  return traffic.arrived(options_.peer, done, data.payload);
}

Status Link::take_header(DataStream& data, Traffic& traffic) {
  auto header = parse_header(data.in_header);
  if (!header.ok() && !is_intact(data.in_header))
    return damaged(data, "a frame header arrived damaged");
  if (!header.ok()) return header.status();
  if (auto s = check_stamp(*header); !s.ok()) return s;
  if (data.last_heard) return wire_error("it sent data after its goodbye");
  if (header->kind != Kind::slice) return hear_of_stream(data, *header);
  if (data.unproven) return wire_error("it sent data by a stream before its first word");
  if (header->length == 0) return wire_error("it sent an empty slice");
  data.got = 0;
  const auto again =
      std::ranges::find_if(unfinished_, [&](const Unfinished& one) { return one.is(*header); });
  if (again != unfinished_.end()) {
    data.payload = again->payload;
    data.unwanted = std::move(again->unwanted);
    unfinished_.erase(again);
  } else {
    auto place = traffic.place(options_.peer, *header);
    if (!place.ok()) return place.status();
    data.payload = *place;
  }
  data.header = *header;
  data.check = 0;
  return {};
}

// Nothing of it is used, and nothing more is read. The peer sends it again by another stream; but
// one that does this again and again is no peer.
Status Link::damaged(DataStream& data, const std::string& what) {
  data.ended = data.damaged = true;
  data.why = what;
  return count_damage(what);
}

Status Link::count_damage(const std::string& what) {
  ++stats_.damages;
  return ++damages_ > most_damages ? wire_error(what + ", again and again") : Status{};
}

Status Link::end_of_data(DataStream& data, const Status& why) {
  if (why.code != Code::peer_lost) return why;
  data.ended = true;
  data.why = why.text;
  return {};
}

// False: nothing is to be written now.
bool Link::next_frame(DataStream& data, Traffic& traffic) {
  Owed next;
  bool again = false;
  if (data.greets) {
    next.frame.header.kind = Kind::heartbeat;
    next.frame.header.transfer = std::exchange(data.asks, false) ? 1 : 0;
  } else if (data.leaves) {
    next.frame.header.kind = Kind::goodbye;
  } else if (data.unproven) {
    return false;
  } else if (!again_.empty()) {
    again = true;
    next = std::move(again_.front());
    again_.pop_front();
    ++stats_.frames_again;
  } else if (!traffic.next(options_.peer, next.frame)) {
    return false;
  }
  const Header stamp = options_.stamp;
  Header& header = next.frame.header;
  if (!again) header.generation = stamp.generation;
  header.run = stamp.run;
  header.source = stamp.source;
  header.watermark = stamp.watermark;
  if (options_.checks && !again) header.payload_check = check_of(next.frame);
  data.out_header = to_bytes(header);
  data.out = std::move(next);
  data.written = 0;
  return true;
}

Status Link::write_data(DataStream& data, Traffic& traffic) {
  std::size_t budget = budget_bytes;
  while ((!data.ended || data.last_heard) && !data.last_said && !data_stopped_ && !said_goodbye_ &&
         data.stream->can_write()) {
    if (budget == 0) {
      more_ = true;
      break;
    }
    if (!data.out && !next_frame(data, traffic)) break;
    std::array<ByteView, 4> pieces;
    std::size_t count = 0, skip = data.written, total = 0;
    const auto add = [&](ByteView piece) {
      total += piece.size();
      const std::size_t gone = std::min(skip, piece.size());
      skip -= gone;
      if (gone < piece.size()) pieces[count++] = piece.subspan(gone);
    };
    const OutFrame& frame = data.out->frame;
    add(data.out_header);
    for (int i = 0; i < frame.count; ++i) add(frame.pieces[static_cast<std::size_t>(i)]);
    const auto wrote = data.stream->write(std::span(pieces.data(), count));
    if (!wrote.ok()) {
      data.last_heard = false;  // what it took may not have arrived
      return end_of_data(data, wrote.status());
    }
    data.written += *wrote;
    stats_.bytes_sent += *wrote;
    budget -= std::min(budget, *wrote);
    if (data.written < total) break;
    frame_left(data, traffic);
  }
  return {};
}

void Link::frame_left(DataStream& data, Traffic& traffic) {
  Owed left = std::move(*data.out);
  data.out.reset();
  const Header& header = left.frame.header;
  ++stats_.frames_sent;
  stats_.payload_sent += header.length;
  if (header.kind == Kind::heartbeat) data.greets = false;
  if (header.kind == Kind::goodbye) {
    data.last_said = true;
    data.stream->shut_write();
  }
  if (header.kind != Kind::slice) return;
  const bool needless = left.frame.lent || peer_leaves_;
  if (needless && !left.told && !left.moot) traffic.sent(options_.peer, left.frame);
  left.told = left.told || needless;
  if (!peer_leaves_) data.owed.push_back(std::move(left));
}

}  // namespace isthmus
