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
// way behind its last frame. One that ends without has broken: the ends tell each other, on the
// control stream, what of it has come whole, and the rest goes by the others. A control stream that
// ends is replaced while a data stream stands; without any the peer is lost. The link is lost, too,
// when it has been without a control stream, or without data streams, for two heartbeat timeouts
// (docs/decisions/0017-a-stream-that-dies-alone.md).
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "net/control_stream.hpp"
#include "net/data_stream.hpp"

namespace isthmus {

// What the links of a mesh carry. Implemented by the session; called only from within Link::pump().
class Traffic {
 public:
  virtual ~Traffic() = default;
  virtual bool next(int peer, OutFrame& frame) = 0;  // false: nothing to send now
  // Its pieces are needed no more: it has come, or has left and its memory was lent.
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
  bool checks = true;       // payloads of data have one, for it leaves the machine; the other end
                            // tests those that have
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
  std::uint64_t streams_broken = 0;  // since joining
  std::uint64_t frames_again = 0;    // sent once more for that
  std::uint64_t streams_replaced = 0;
  std::uint64_t damages = 0;  // headers and payloads of data that came changed, and were not used
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
  // One more data stream, or with number 0 another control stream, whose handshake is over: we
  // dialled it, or took it at our port. False: there is no room for it, or its number is known; it
  // is closed.
  bool add(std::unique_ptr<Stream> stream, std::uint16_t number, bool dialled);
  // Takes data streams away, the youngest first, until `count` are left. REQUIRES: count > 0.
  void keep(int count);
  int streams() const;                      // of data, without those that are on their way out
  int missing() const { return missing_; }  // that broke, and no others have come
  bool lacks_control() const;               // and no other one is on its way
  // Why streams broke, since this was asked last.
  std::vector<std::string> take_breaks() { return std::exchange(breaks_, {}); }

  // After pump() failed: the link carries nothing any more but the control frames that wait or are
  // said now, and then pump() fails for good.
  void give_up(std::int64_t now_ns);
  void set_watermark(std::uint64_t watermark) { options_.stamp.watermark = watermark; }
  // Of what is said from now on. Which generations may come is the Traffic's to say.
  void set_generation(std::uint32_t generation);

  // No frame refers to `operation`'s memory any more: what is on its way out, or may have to be
  // sent again, is copied.
  void detach(std::uint64_t operation);
  // The same of memory that was lent, and of nothing else.
  void copy_lent(std::uint64_t operation);
  // Nor does one that may have to be sent again, for the peer is done with the operation.
  void forget(std::uint64_t operation);
  // Data frames that are half written or half read, or are owed, are of use to nobody, and the link
  // needs nobody's memory for them any more; what comes of those comes to lie elsewhere, and nobody
  // is to look at it.
  void let_go();
  // From here on only control frames leave; a data frame that is half written stays so.
  void stop_data() { data_stopped_ = true; }

  // Leaving: goodbye() after the last frame; the peer's last bytes are read until ended().
  void goodbye();
  bool ended() const;  // the peer said goodbye and all its streams have ended
  bool leaving() const { return peer_leaves_; }
  bool carries(std::uint64_t operation) const;  // a frame of it is half written
  bool idle() const;  // nothing is waiting to be written, and all data is known to have come

  LinkStats stats() const;
  const std::string& name() const { return options_.name; }
  bool leaves_machine() const { return options_.checks; }

 private:
  // Heartbeat timeouts without a control stream, or without one of data: a break is noticed, and
  // another connection made, which may be lost too.
  static constexpr int timeouts_without = 2;

  // It takes no more streams.
  bool over() const {
    return said_goodbye_ || peer_leaves_ || given_up_by_ns_ != never_ns || !lost_.ok();
  }
  Status move(std::int64_t now_ns, Traffic& traffic);
  Status read_control(std::int64_t now_ns, Traffic& traffic);
  Status heed_control(Message message, Traffic& traffic);
  // Data (link_data.cpp).
  Status read_data(DataStream& data, Traffic& traffic);
  Status take(DataStream& data, std::size_t bytes, Traffic& traffic);
  Status take_payload(DataStream& data, Traffic& traffic);
  Status take_header(DataStream& data, Traffic& traffic);
  Status damaged(DataStream& data, const std::string& what);
  Status count_damage(const std::string& what);
  Status end_of_data(DataStream& data, const Status& why);
  bool next_frame(DataStream& data, Traffic& traffic);
  Status write_data(DataStream& data, Traffic& traffic);
  void frame_left(DataStream& data, Traffic& traffic);

  // Streams that come and go (link_streams.cpp).
  Status hear_of_stream(DataStream& data, const Header& header);
  void forget_gone();
  void keep_books_of(const DataStream& data);
  void share_unsent();

  // Streams that break (link_breaks.cpp).
  Status mind_breaks(std::int64_t now_ns);
  void break_off(DataStream& data);
  Status hear_break(ByteView payload, Traffic& traffic);
  Status settle(Broken broken, std::uint64_t count, Traffic& traffic);
  Status hear_receipt(ByteView payload, Traffic& traffic);
  Status acknowledge(std::deque<Owed>& owed, std::uint64_t& known, std::size_t cut,
                     std::uint64_t count, Traffic& traffic);
  void acknowledge_in_time(std::int64_t now_ns);
  void say_receipts();
  std::int64_t breaks_due_ns() const;
  std::int64_t data_due_ns() const;
  std::int64_t grace_ns() const;
  void remove_broken();
  void see_it_leave(Traffic& traffic);
  DataStream* find(std::uint16_t number);
  template <class Call>
  void each_that_left(Call call);

  // A control stream that breaks (link_control.cpp).
  Status lose_control(const Status& why, std::int64_t now_ns);
  Status mind_control(std::int64_t now_ns);
  std::int64_t control_due_ns() const;
  bool add_control(std::unique_ptr<Stream> stream, bool dialled);
  void note_control();
  void say_alive();
  std::int64_t alive_until_ns() const;  // by what has come without a control stream

  Status check_stamp(const Header& header) const;
  void time_data(std::uint64_t bytes, std::int64_t now_ns);
  Status keep_alive(std::int64_t now_ns);
  Status dead(const Status& why) const;

  LinkOptions options_;
  ControlStream control_;
  // Copies of memory that others wanted back. Before those who have them, and so outlives them.
  SliceBuffers copies_{16 << 20};
  std::vector<DataStream> data_;
  std::vector<Broken> broken_;
  std::deque<Owed> again_;  // to be sent once more, by any stream
  std::vector<Unfinished> unfinished_;
  std::vector<std::string> breaks_;
  int missing_ = 0;
  int damages_ = 0;       // in this minute
  int new_controls_ = 0;  // the same
  std::int64_t minute_ends_ns_ = 0;
  std::uint64_t unsaid_bytes_ = 0;           // that came since the last receipts
  std::int64_t receipts_due_ns_ = never_ns;  // for what came
  std::int64_t without_data_ns_ = never_ns;  // since when no stream carries data
  std::int64_t without_control_ns_ = never_ns;
  Status control_lost_;          // why
  bool control_missed_ = false;  // for longer than it takes to hear that the peer has died
  int control_streams_ = 1;      // that have stood
  bool more_ = false;            // a budget was used up; there is more to move
  bool heard_ = false;           // since the last keep_alive
  bool spoke_ = false;
  bool peer_leaves_ = false;
  bool control_ended_ = false;   // nothing more will be read
  bool control_broken_ = false;  // nothing more can be written
  bool data_stopped_ = false;
  bool said_goodbye_ = false;
  bool shut_ = false;
  Status lost_;                             // not ok: why, to be said later
  std::int64_t verdict_ns_ = 0;             // when
  std::int64_t given_up_by_ns_ = never_ns;  // when its last words are cut off
  std::int64_t silence_ends_ns_ = 0;
  std::int64_t next_heartbeat_ns_ = 0;
  std::int64_t last_data_ns_ = 0;  // when data came last
  LinkStats stats_;
  PathInfo gone_;  // sums of the streams that were taken away
};

}  // namespace isthmus
