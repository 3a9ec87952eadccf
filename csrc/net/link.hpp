// Link: frames to one peer over one control stream and k data streams.
//
// Control frames (announcements, heartbeats, goodbyes) never wait behind data. Data is pulled: a
// stream that has room asks its Traffic for the next frame, so streams share the work as fast as
// each can, and nothing queues up here. The peer is alive while any byte comes within the heartbeat
// timeout; the link sends heartbeats when it has been silent. The link knows nothing of sites,
// operations or codecs.
//
// Data streams may come and go while it lives. One that was added is proven by the first word of
// the end that dialled it; until then the other end sends nothing by it, so that a connection of
// which only one end knows carries nothing that could be lost. One that goes carries a goodbye each
// way behind its last frame; one that ends without is a break.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "net/channel.hpp"

namespace isthmus {

// A data frame on its way out; `pieces` stay valid until sent() or detach().
struct OutFrame {
  Header header;
  int count = 0;
  std::array<ByteView, 3> pieces;
  int send = -1;  // this and the next are for the Traffic that made it
  std::size_t slice = 0;
};

// What the links of a mesh carry. Implemented by the session; called only from within Link::pump().
class Traffic {
 public:
  virtual ~Traffic() = default;
  virtual bool next(int peer, OutFrame& frame) = 0;  // false: nothing to send now
  virtual void sent(int peer, const OutFrame& frame) = 0;
  // Where the payload of a data frame goes; exactly header.length bytes, valid until arrived().
  virtual Result<ByteSpan> place(int peer, const Header& header) = 0;
  virtual Status arrived(int peer, const Header& header, ByteSpan payload) = 0;
  virtual Status control(int peer, Message message) = 0;
};

struct LinkOptions {
  int peer = -1;
  std::string name;  // of the peer, for messages
  Header stamp;      // run, generation and source of every frame that leaves
  std::int64_t heartbeat_timeout_ns = 5 * second_ns;
  std::string by_way_of{};  // who carries the streams, for messages; empty: nobody
  // From the loss of the peer until it is said: whoever carries the streams may be the one that is
  // lost, and its own link then says so first.
  std::int64_t verdict_after_ns = 0;
};

struct LinkStats {
  std::uint64_t bytes_sent = 0, bytes_received = 0;      // all, with headers and control frames
  std::uint64_t payload_sent = 0, payload_received = 0;  // of whole data frames
  std::uint64_t frames_sent = 0, frames_received = 0;
  // Data comes in runs: a pause longer than a round trip ends one. What a run begins with is not
  // counted here, because nobody knows how long it took.
  std::uint64_t run_bytes_received = 0;
  std::int64_t run_ns_received = 0;
  int streams = 0;
  // Of the data streams: the least min_rtt, the longest busy, the largest segment, sums of the
  // rest; rtt is the control stream's, and retransmits and segments are with it.
  PathInfo path;
};

class Link {
 public:
  // streams[0] is for control. Until `first_word_by_ns` the peer may be silent.
  Link(LinkOptions options, std::vector<std::unique_ptr<Stream>> streams,
       std::int64_t first_word_by_ns);

  // Moves what can be moved. Not ok: the link is dead, final; the Status names the peer.
  Status pump(std::int64_t now_ns, Traffic& traffic);
  // When pump() wants to be called again if nothing happens.
  std::int64_t deadline_ns() const;

  void control(Kind kind, std::uint64_t operation, ByteView payload);
  static constexpr int max_streams = 32;
  // One more data stream, whose handshake is over: we dialled it, or took it at our port.
  void add(std::unique_ptr<Stream> stream, bool dialled);
  // Takes data streams away, the youngest first, until `count` are left. REQUIRES: count > 0.
  void keep(int count);
  int streams() const;  // of data, without those that are on their way out

  // After pump() failed: the link carries nothing any more but the control frames that wait or are
  // said now, and then pump() fails for good.
  void give_up(std::int64_t now_ns);
  void set_watermark(std::uint64_t watermark) { options_.stamp.watermark = watermark; }
  // Of what is said from now on. Which generations may come is the Traffic's to say.
  void set_generation(std::uint32_t generation) { options_.stamp.generation = generation; }

  // No frame refers to `operation`'s memory any more: what is on its way out is copied.
  void detach(std::uint64_t operation);
  // Of no data frame that is half written or half read does the link need anybody's memory any
  // more; what comes of the latter comes to lie elsewhere, and nobody is to look at it.
  void let_go();
  // From here on only control frames leave; a data frame that is half written stays so.
  void stop_data() { data_stopped_ = true; }

  // Leaving: goodbye() after the last frame; the peer's last bytes are read until ended().
  void goodbye();
  bool ended() const;  // the peer said goodbye and all its streams have ended
  bool leaving() const { return peer_leaves_; }
  bool carries(std::uint64_t operation) const;  // a frame of it is half written
  bool idle() const;                            // nothing is waiting to be written

  LinkStats stats() const;
  const std::string& name() const { return options_.name; }

 private:
  struct DataStream {
    std::unique_ptr<Stream> stream;
    // Out: the frame, its header, and how much of both has left.
    std::optional<OutFrame> out;
    HeaderBytes out_header{};
    std::size_t written = 0;
    std::vector<std::byte> detached;
    std::vector<std::byte> unwanted;  // where a payload that was let go comes to lie
    // In: a header, then its payload.
    HeaderBytes in_header{};
    std::size_t got = 0;
    std::optional<Header> header;
    ByteSpan payload;
    bool ended = false;
    // Of a stream that comes or goes.
    bool greets = false;    // our first word is not said
    bool unproven = false;  // the peer's first word has not come
    bool leaves = false;    // no further frames
    bool last_said = false, last_heard = false;

    bool gone() const { return ended && (unproven || (last_said && last_heard)); }
    bool broken() const { return ended && !gone() && !last_heard; }
  };

  Status move(std::int64_t now_ns, Traffic& traffic);
  Status read_control(Traffic& traffic);
  Status read_data(DataStream& data, Traffic& traffic);
  Status take(DataStream& data, std::size_t bytes, Traffic& traffic);
  Status hear_of_stream(DataStream& data, const Header& header);
  Status end_of_data(DataStream& data, const Status& why);
  bool next_frame(DataStream& data, Traffic& traffic);
  void forget_gone();
  void share_unsent();
  Status write_data(DataStream& data, Traffic& traffic);
  Status check_stamp(const Header& header) const;
  static void detach(DataStream& data);
  void time_data(std::uint64_t bytes, std::int64_t now_ns);
  Status keep_alive(std::int64_t now_ns);
  Status dead(const Status& why) const;

  LinkOptions options_;
  Channel control_;
  std::vector<DataStream> data_;
  bool more_ = false;   // a budget was used up; there is more to move
  bool heard_ = false;  // since the last keep_alive
  bool spoke_ = false;
  bool peer_leaves_ = false;
  bool control_ended_ = false;   // nothing more will be read
  bool control_broken_ = false;  // nothing more can be written
  bool data_stopped_ = false;
  bool said_goodbye_ = false;
  bool shut_ = false;
  Status lost_;                              // not ok: why, to be said later
  std::int64_t verdict_ns_ = 0;              // when
  std::int64_t given_up_by_ns_ = never_ns;   // when its last words are cut off
  std::int64_t broken_since_ns_ = never_ns;  // a data stream ended, and control has not said why
  std::int64_t silence_ends_ns_ = 0;
  std::int64_t next_heartbeat_ns_ = 0;
  std::int64_t last_data_ns_ = 0;  // when data came last
  LinkStats stats_;
  PathInfo gone_;  // sums of the streams that were taken away
};

}  // namespace isthmus
