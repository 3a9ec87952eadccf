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
    data_.back().number = static_cast<std::uint16_t>(i);
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
    const bool spoken = !control_.stands() || !control_.flush().ok() || control_.flushed();
    return spoken || now_ns >= given_up_by_ns_ ? peer_lost("given up", options_.peer) : Status{};
  }
  if (auto s = read_control(now_ns, traffic); !s.ok()) return dead(s);
  const std::uint64_t before = stats_.bytes_received;
  for (DataStream& data : data_)
    if (auto s = read_data(data, traffic); !s.ok()) return dead(s);
  if (stats_.bytes_received != before) time_data(stats_.bytes_received - before, now_ns);
  if (auto s = mind_breaks(now_ns); !s.ok()) return dead(s);
  for (DataStream& data : data_)
    if (auto s = write_data(data, traffic); !s.ok()) return dead(s);
  acknowledge_in_time(now_ns);
  forget_gone();
  if (auto s = keep_alive(now_ns); !s.ok()) return dead(s);
  // A peer that has ended its own way may still want to hear our goodbye.
  if (!control_broken_) {
    if (auto s = control_.flush(); !s.ok()) {
      if (peer_leaves_)
        control_broken_ = true;
      else if (s = lose_control(s, now_ns); !s.ok())
        return dead(s);
    }
  }
  if (auto s = mind_control(now_ns); !s.ok()) return dead(s);
  if (said_goodbye_ && !shut_ && (control_.flushed() || control_broken_)) {
    shut_ = true;
    control_.shut_write();
    for (DataStream& data : data_) data.stream->shut_write();
  }
  return {};
}

std::int64_t Link::deadline_ns() const {
  if (!lost_.ok()) return verdict_ns_;
  if (given_up_by_ns_ != never_ns) return given_up_by_ns_;
  if (more_) return 0;
  return std::min(
      {next_heartbeat_ns_, silence_ends_ns_, receipts_due_ns_, breaks_due_ns(), control_due_ns()});
}

Status Link::read_control(std::int64_t now_ns, Traffic& traffic) {
  for (int frames = 0; !control_ended_; ++frames) {
    if (frames == control_frames_a_turn) {
      more_ = true;
      return {};
    }
    const std::uint64_t before = control_.bytes_received();
    auto message = control_.receive(options_.stamp);
    heard_ = heard_ || control_.bytes_received() != before;
    note_control();
    if (!message.ok() && message.status().code == Code::peer_lost && peer_leaves_) {
      control_ended_ = true;
      return {};
    }
    if (!message.ok() && control_.damaged())
      if (auto s = count_damage("a control frame arrived damaged"); !s.ok()) return s;
    if (!message.ok()) return lose_control(message.status(), now_ns);
    if (!message->has_value()) return {};
    ++stats_.frames_received;
    const Header header = (*message)->header;
    if (auto s = heed_control(std::move(**message), traffic); !s.ok()) return s;
    control_.heeded(header);
  }
  return {};
}

Status Link::heed_control(Message message, Traffic& traffic) {
  const Header& header = message.header;
  if (auto s = check_stamp(header); !s.ok()) return s;
  if (header.kind == Kind::goodbye) see_it_leave(traffic);
  if (header.kind == Kind::slice) return wire_error("it sent data on the control stream");
  if (header.kind == Kind::receipt) return hear_receipt(message.payload, traffic);
  if (header.kind == Kind::broken) return hear_break(message.payload, traffic);
  return traffic.control(options_.peer, std::move(message));
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
  if (gap > millisecond_ns && gap > control_.path().rtt_ns) return;
  stats_.run_bytes_received += bytes;
  stats_.run_ns_received += gap;
}

Status Link::keep_alive(std::int64_t now_ns) {
  if (std::exchange(heard_, false)) silence_ends_ns_ = now_ns + options_.heartbeat_timeout_ns;
  if (peer_leaves_) {
    silence_ends_ns_ = never_ns;
    next_heartbeat_ns_ = never_ns;
    return {};
  }
  if (now_ns >= silence_ends_ns_)
    return peer_lost("no bytes for " + seconds_text(options_.heartbeat_timeout_ns));
  if (std::exchange(spoke_, false) || now_ns >= next_heartbeat_ns_) {
    const std::int64_t interval = options_.heartbeat_timeout_ns / heartbeats_a_timeout;
    if (now_ns >= next_heartbeat_ns_ && !said_goodbye_) say_alive();
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
  spoke_ = control_.stands();
}

void Link::give_up(std::int64_t now_ns) {
  data_.clear();
  broken_.clear();
  again_.clear();
  unfinished_.clear();
  given_up_by_ns_ = now_ns + options_.heartbeat_timeout_ns;
}

void Link::goodbye() {
  if (said_goodbye_) return;
  say_receipts();
  control(Kind::goodbye, 0, {});
  said_goodbye_ = true;
}

bool Link::ended() const {
  return peer_leaves_ && control_ended_ &&
         std::ranges::all_of(data_, [](const DataStream& d) { return d.ended || d.unproven; });
}

bool Link::carries(std::uint64_t operation) const {
  return std::ranges::any_of(data_, [operation](const DataStream& d) {
    return d.out && d.out->frame.header.operation == operation;
  });
}

bool Link::idle() const {
  const auto owes = [](const DataStream& d) { return d.out.has_value() || !d.owed.empty(); };
  return control_.flushed() && broken_.empty() && again_.empty() &&
         std::ranges::none_of(data_, owes);
}

LinkStats Link::stats() const {
  LinkStats stats = stats_;
  stats.bytes_sent += control_.bytes_sent();
  stats.bytes_received += control_.bytes_received();
  const PathInfo control = control_.path();
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
