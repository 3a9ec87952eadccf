#include "net/link.hpp"

#include <algorithm>

namespace isthmus {
namespace {

// A pump moves at most so much a stream before others have their turn.
constexpr std::size_t budget_bytes = 4 << 20;
constexpr int control_frames_a_turn = 256;
constexpr int heartbeats_a_timeout = 4;

std::string seconds_text(std::int64_t ns) {
  const std::int64_t tenths = ns / (second_ns / 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

// Zero: not known.
std::int64_t least_known(std::int64_t a, std::int64_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

}  // namespace

Link::Link(LinkOptions options, std::vector<std::unique_ptr<Stream>> streams,
           std::int64_t first_word_by_ns)
    : options_(std::move(options)), control_(std::move(streams.at(0))) {
  for (std::size_t i = 1; i < streams.size(); ++i) {
    data_.emplace_back();
    data_.back().stream = std::move(streams[i]);
  }
  share_unsent();
  silence_ends_ns_ = first_word_by_ns;
}

Status Link::pump(std::int64_t now_ns, Traffic& traffic) {
  if (!lost_.ok()) return now_ns < verdict_ns_ ? Status{} : lost_;
  Status status = move(now_ns, traffic);
  const bool waits = options_.verdict_after_ns > 0 && given_up_by_ns_ == never_ns;
  if (status.code != Code::peer_lost || !waits) return status;
  lost_ = std::move(status);
  verdict_ns_ = now_ns + options_.verdict_after_ns;
  return {};
}

Status Link::move(std::int64_t now_ns, Traffic& traffic) {
  more_ = false;
  if (given_up_by_ns_ != never_ns) {
    const bool spoken = !control_.flush().ok() || control_.flushed();
    return spoken || now_ns >= given_up_by_ns_ ? peer_lost("given up", options_.peer) : Status{};
  }
  if (auto s = read_control(traffic); !s.ok()) return dead(s);
  const std::uint64_t before = stats_.bytes_received;
  for (DataStream& data : data_) {
    if (auto s = read_data(data, traffic); !s.ok()) return dead(s);
    if (data.broken() && !peer_leaves_ && broken_since_ns_ == never_ns) broken_since_ns_ = now_ns;
  }
  if (stats_.bytes_received != before) time_data(stats_.bytes_received - before, now_ns);
  for (DataStream& data : data_)
    if (auto s = write_data(data, traffic); !s.ok()) return dead(s);
  forget_gone();
  if (auto s = keep_alive(now_ns); !s.ok()) return dead(s);
  // A peer that has ended its own way may still want to hear our goodbye.
  if (!control_broken_) {
    if (auto s = control_.flush(); !s.ok()) {
      if (!peer_leaves_) return dead(s);
      control_broken_ = true;
    }
  }
  if (said_goodbye_ && !shut_ && (control_.flushed() || control_broken_)) {
    shut_ = true;
    control_.stream().shut_write();
    for (DataStream& data : data_) data.stream->shut_write();
  }
  return {};
}

std::int64_t Link::deadline_ns() const {
  if (!lost_.ok()) return verdict_ns_;
  if (given_up_by_ns_ != never_ns) return given_up_by_ns_;
  if (more_) return 0;
  const std::int64_t broken =
      broken_since_ns_ == never_ns ? never_ns : broken_since_ns_ + options_.heartbeat_timeout_ns;
  return std::min({next_heartbeat_ns_, silence_ends_ns_, broken});
}

Status Link::read_control(Traffic& traffic) {
  for (int frames = 0; !control_ended_; ++frames) {
    if (frames == control_frames_a_turn) {
      more_ = true;
      return {};
    }
    const std::uint64_t before = control_.bytes_received();
    auto message = control_.receive();
    heard_ = heard_ || control_.bytes_received() != before;
    if (!message.ok()) {
      if (message.status().code != Code::peer_lost || !peer_leaves_) return message.status();
      control_ended_ = true;
      return {};
    }
    if (!message->has_value()) return {};
    ++stats_.frames_received;
    const Header header = (*message)->header;
    if (auto s = check_stamp(header); !s.ok()) return s;
    if (header.kind == Kind::goodbye) peer_leaves_ = true;
    if (header.kind == Kind::slice) return wire_error("it sent data on the control stream");
    if (auto s = traffic.control(options_.peer, std::move(**message)); !s.ok()) return s;
  }
  return {};
}

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
    data.got += mine;
    bytes -= mine;
    if (data.got < data.payload.size()) return {};
    const Header done = *data.header;
    data.header.reset();
    data.got = 0;
    ++stats_.frames_received;
    stats_.payload_received += done.length;
    if (auto s = traffic.arrived(options_.peer, done, data.payload); !s.ok()) return s;
  }
  data.got += bytes;
  if (data.got < header_bytes) return {};
  auto header = parse_header(data.in_header);
  if (!header.ok()) return header.status();
  if (auto s = check_stamp(*header); !s.ok()) return s;
  if (data.last_heard) return wire_error("it sent data after its goodbye");
  if (header->kind != Kind::slice) return hear_of_stream(data, *header);
  if (header->length == 0) return wire_error("it sent an empty slice");
  auto place = traffic.place(options_.peer, *header);
  if (!place.ok()) return place.status();
  data.header = *header;
  data.payload = *place;
  data.got = 0;
  return {};
}

Status Link::end_of_data(DataStream& data, const Status& why) {
  if (why.code != Code::peer_lost) return why;
  data.ended = true;
  return {};
}

// False: nothing is to be written now.
bool Link::next_frame(DataStream& data, Traffic& traffic) {
  OutFrame frame;
  if (data.greets)
    frame.header.kind = Kind::heartbeat;
  else if (data.leaves)
    frame.header.kind = Kind::goodbye;
  else if (data.unproven || !traffic.next(options_.peer, frame))
    return false;
  const Header stamp = options_.stamp;
  frame.header.run = stamp.run;
  frame.header.generation = stamp.generation;
  frame.header.source = stamp.source;
  frame.header.watermark = stamp.watermark;
  data.out_header = to_bytes(frame.header);
  data.out = frame;
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
    add(data.out_header);
    for (int i = 0; i < data.out->count; ++i) add(data.out->pieces[static_cast<std::size_t>(i)]);
    const auto wrote = data.stream->write(std::span(pieces.data(), count));
    if (!wrote.ok()) {
      data.last_heard = false;  // what it took may not have arrived
      return end_of_data(data, wrote.status());
    }
    data.written += *wrote;
    stats_.bytes_sent += *wrote;
    budget -= std::min(budget, *wrote);
    if (data.written < total) break;
    ++stats_.frames_sent;
    stats_.payload_sent += data.out->header.length;
    if (data.out->header.kind == Kind::slice) traffic.sent(options_.peer, *data.out);
    if (data.out->header.kind == Kind::heartbeat) data.greets = false;
    data.last_said = data.out->header.kind == Kind::goodbye;
    data.out.reset();
    data.detached.clear();
    if (data.last_said) data.stream->shut_write();
  }
  return {};
}

Status Link::check_stamp(const Header& header) const {
  if (header.run != options_.stamp.run) return wire_error("it sent a frame of another run");
  if (header.source != options_.peer)
    return wire_error("it sent a frame in the name of rank " + std::to_string(header.source));
  return {};
}

// TCP itself may pause for a round trip, until acknowledgements open its window.
void Link::time_data(std::uint64_t bytes, std::int64_t now_ns) {
  const std::int64_t gap = now_ns - std::exchange(last_data_ns_, now_ns);
  if (gap > millisecond_ns && gap > control_.stream().path().rtt_ns) return;
  stats_.run_bytes_received += bytes;
  stats_.run_ns_received += gap;
}

Status Link::keep_alive(std::int64_t now_ns) {
  if (std::exchange(heard_, false)) silence_ends_ns_ = now_ns + options_.heartbeat_timeout_ns;
  if (peer_leaves_) {
    silence_ends_ns_ = never_ns;
    next_heartbeat_ns_ = never_ns;
    broken_since_ns_ = never_ns;  // it ended because the peer leaves
    return {};
  }
  // A data stream that ends alone is not yet a lost peer: the control stream may be about to say
  // why, and what it says may have to be sent again.
  if (broken_since_ns_ != never_ns && now_ns >= broken_since_ns_ + options_.heartbeat_timeout_ns)
    return peer_lost("one of its connections broke");
  if (now_ns >= silence_ends_ns_)
    return peer_lost("no bytes for " + seconds_text(options_.heartbeat_timeout_ns));
  if (std::exchange(spoke_, false) || now_ns >= next_heartbeat_ns_) {
    const std::int64_t interval = options_.heartbeat_timeout_ns / heartbeats_a_timeout;
    if (now_ns >= next_heartbeat_ns_ && !said_goodbye_) control(Kind::heartbeat, 0, {});
    spoke_ = false;
    next_heartbeat_ns_ = now_ns + interval;
  }
  return {};
}

Status Link::dead(const Status& why) const {
  std::string text = "site \"" + options_.name + "\" ";
  const std::string way =
      options_.by_way_of.empty() ? "" : ", by way of site \"" + options_.by_way_of + "\"";
  text += why.code == Code::peer_lost ? "lost (" + why.text + way + ", generation " +
                                            std::to_string(options_.stamp.generation) + ")"
                                      : "broke the protocol: " + why.text + way;
  return {why.code == Code::refused ? Code::wire_error : why.code, options_.peer, std::move(text)};
}

void Link::control(Kind kind, std::uint64_t operation, ByteView payload) {
  Header header = options_.stamp;
  header.kind = kind;
  header.operation = operation;
  control_.send(header, payload);
  ++stats_.frames_sent;
  spoke_ = true;
}

void Link::give_up(std::int64_t now_ns) {
  data_.clear();
  given_up_by_ns_ = now_ns + options_.heartbeat_timeout_ns;
}

void Link::detach(std::uint64_t operation) {
  for (DataStream& data : data_) {
    if (data.out && data.out->header.operation == operation) detach(data);
  }
}

void Link::detach(DataStream& data) {
  if (!data.detached.empty()) return;
  for (int i = 0; i < data.out->count; ++i) {
    const ByteView piece = data.out->pieces[static_cast<std::size_t>(i)];
    data.detached.insert(data.detached.end(), piece.begin(), piece.end());
  }
  data.out->count = 1;
  data.out->pieces[0] = data.detached;
}

void Link::let_go() {
  for (DataStream& data : data_) {
    if (data.out) detach(data);
    if (!data.header) continue;
    data.unwanted.resize(data.header->length);
    data.payload = data.unwanted;
  }
}

void Link::goodbye() {
  if (said_goodbye_) return;
  control(Kind::goodbye, 0, {});
  said_goodbye_ = true;
}

bool Link::ended() const {
  return peer_leaves_ && control_ended_ &&
         std::ranges::all_of(data_, [](const DataStream& d) { return d.ended || d.unproven; });
}

bool Link::carries(std::uint64_t operation) const {
  return std::any_of(data_.begin(), data_.end(), [operation](const DataStream& d) {
    return d.out && d.out->header.operation == operation;
  });
}

bool Link::idle() const {
  return control_.flushed() && std::none_of(data_.begin(), data_.end(),
                                            [](const DataStream& d) { return d.out.has_value(); });
}

LinkStats Link::stats() const {
  LinkStats stats = stats_;
  stats.bytes_sent += control_.bytes_sent();
  stats.bytes_received += control_.bytes_received();
  const PathInfo control = control_.stream().path();
  stats.path = {.rtt_ns = control.rtt_ns,
                .min_rtt_ns = control.min_rtt_ns,
                .retransmits = control.retransmits + gone_.retransmits,
                .segments = control.segments + gone_.segments,
                .bytes_acked = gone_.bytes_acked,
                .bytes_delivered = gone_.bytes_delivered,
                .busy_ns = gone_.busy_ns};
  stats.streams = streams();
  for (const DataStream& data : data_) {
    const PathInfo path = data.stream->path();
    stats.path.retransmits += path.retransmits;
    stats.path.segments += path.segments;
    stats.path.bytes_acked += path.bytes_acked;
    stats.path.bytes_delivered += path.bytes_delivered;
    stats.path.segment_bytes = std::max(stats.path.segment_bytes, path.segment_bytes);
    stats.path.window_bytes += path.window_bytes;
    stats.path.congestion_bytes += path.congestion_bytes;
    stats.path.delivery_bits_per_s += path.delivery_bits_per_s;
    stats.path.busy_ns = std::max(stats.path.busy_ns, path.busy_ns);
    stats.path.min_rtt_ns = least_known(stats.path.min_rtt_ns, path.min_rtt_ns);
  }
  return stats;
}

}  // namespace isthmus
