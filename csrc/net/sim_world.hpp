// World: what SimNet knows: hosts, connections, the bytes between them, and the events to come.
// Only sim*.cpp see it.
//
// A pipe is one direction of a connection. Its bytes wait in `unsent`, leave through the host's
// uplink one segment at a time (pipes take turns), fly in order, pass the receiver's downlink and
// wait in `arrived` until they are read.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>

#include "base/random.hpp"
#include "net/sim.hpp"

namespace isthmus::sim {

using Call = std::function<void()>;
using Events = std::multimap<std::int64_t, Call>;  // equal times keep their order of arrival

enum class Ending { none, finished, reset };

struct Segment {
  std::vector<std::byte> bytes;
  std::size_t credit = 0;     // what reading it gives back to the writer's window
  std::int64_t due_ns = 0;    // when its last byte is at the receiver's door
  std::int64_t first_ns = 0;  // when its first byte is
  Ending ending = Ending::none;
  bool inside = false;  // it has its place in the downlink
};

struct Pipe {
  std::vector<std::byte> unsent;
  std::size_t unsent_from = 0;
  std::size_t window_used = 0;
  bool queued = false;                  // has a turn at the uplink
  Ending closing = Ending::none;        // to be sent after `unsent`
  Ending sent = Ending::none;           // has left
  bool dead = false;                    // takes bytes to nowhere
  bool silent = false;                  // not even its end arrives
  std::int64_t patience_ns = never_ns;  // of its writer, from the first byte that goes to nowhere
  std::vector<std::byte> first;         // bytes that were written: what the stream is for
  bool truncate_next = false;
  std::optional<Damage> damage_next;
  std::deque<Segment> flying;
  std::int64_t last_first_ns = 0;  // first_ns of the segment that left last
  std::uint64_t flight = 0;        // events of an older flight plan are void
  std::int64_t clogged_until_ns = 0;
  std::int64_t retransmits = 0;
  std::deque<Segment> arrived;
  std::size_t arrived_bytes = 0;
  std::size_t read_from = 0;  // in arrived.front()

  std::size_t waiting() const { return unsent.size() - unsent_from; }
};

struct Endpoint {
  int host = 0;
  std::string address;
  bool held = true;  // somebody has its Stream
  bool connected = false;
  bool readable = false;
  bool writable = false;
  Status ended;   // not ok: reads end so, after the bytes that came before
  Status broken;  // not ok: writes end so
};

struct Connection {
  std::uint32_t id = 0;
  std::array<Endpoint, 2> ends;  // 0 has dialled
  std::array<Pipe, 2> pipes;     // pipes[i] carries what ends[i] writes
  std::string dialled;
  std::optional<Events::iterator> timeout;
};
using ConnectionPtr = std::shared_ptr<Connection>;

// One direction of a connection: that which `side` writes.
struct Way {
  ConnectionPtr connection;
  int side = 0;
  Pipe& pipe() const { return connection->pipes[static_cast<std::size_t>(side)]; }
  std::optional<int> stream() const;  // its number, by the hello that passed it, either way
  Endpoint& writer() const { return connection->ends[static_cast<std::size_t>(side)]; }
  Endpoint& reader() const { return connection->ends[static_cast<std::size_t>(1 - side)]; }
  Way back() const { return {connection, 1 - side}; }
};

struct Host {
  std::int64_t up_bits_per_s = 0;
  std::int64_t down_bits_per_s = 0;
  std::int64_t slow_factor = 1;
  bool alive = true;
  std::uint32_t life = 0;
  std::int64_t frozen_until_ns = 0;
  bool dialable = true;
  bool refuses = false;
  bool sending = false;   // a segment is in the uplink
  std::deque<Way> turns;  // pipes with bytes for the uplink
  std::int64_t down_free_ns = 0;
  bool woken = false;
  int next_port = 40000;
  Tamper tamper;
};

enum class Dialling { answered, unanswered, refused };

struct Path {
  std::int64_t latency_ns = 0;
  std::int64_t jitter_ns = 0;
  double loss = 0;
  std::int64_t cut_until_ns = 0;
  Dialling dialling = Dialling::answered;
};

struct Backlog {
  int host = 0;
  std::uint32_t life = 0;
  std::deque<ConnectionPtr> waiting;
};

class World : public std::enable_shared_from_this<World> {
 public:
  explicit World(const SimSettings& settings);

  // Time (sim_world.cpp).
  std::int64_t now_ns() const { return now_ns_; }
  std::int64_t next_event() const { return events_.empty() ? never_ns : events_.begin()->first; }
  void advance(std::int64_t to_ns);
  bool run_event();  // one that is due; false: none
  Events::iterator schedule(std::int64_t when_ns, Call call);
  void cancel(std::optional<Events::iterator>& event);
  void wake(int host) { hosts_[static_cast<std::size_t>(host)].woken = true; }
  void note(std::string_view what, std::uint64_t subject, std::uint64_t amount,
            ByteView bytes = {});
  std::int64_t delay(int from, int to);
  void carry(int from, int to, Call call);  // after the delay, and after a cut

  // Connections (sim_stream.cpp).
  Result<std::unique_ptr<Stream>> connect(int host, const std::string& address);
  Result<std::unique_ptr<Listener>> listen(int host, const std::string& address);
  std::unique_ptr<Stream> accept(const std::string& address, std::uint32_t life);
  void close_listener(const std::string& address, std::uint32_t life);
  void fail_connect(const ConnectionPtr& connection, const std::string& why);

  // Bytes (sim_pipe.cpp).
  std::size_t write(const Way& way, std::span<const ByteView> pieces);
  std::size_t read(const Way& way, std::span<const ByteSpan> pieces);  // the way towards the reader
  void end_with(const Way& way, Ending ending);                        // after all that was written
  void let_go(const Way& way);     // the way's writing end is closed
  void break_off(const Way& way);  // loses a tail drawn by the seed, and resets
  void silence(const Way& way, std::int64_t patience_ns);
  void plan_flight(const Way& way);

  Host& host(int site) { return hosts_[static_cast<std::size_t>(site)]; }
  Path& path(int from, int to);
  std::vector<Way> ways(int from, int to);  // of connections that stand

  const SimSettings settings;
  Random random;
  std::map<std::string, Backlog> listeners;
  std::map<std::uint32_t, std::weak_ptr<Connection>> connections;
  std::vector<Call> parked;  // carried into a cut that does not end; heal() tries them again
  std::uint64_t trace = 0;
  std::deque<std::string> log;

 private:
  void dial(const ConnectionPtr& connection);
  void answer(const ConnectionPtr& connection);
  void stand(const ConnectionPtr& connection);
  void lose_patience(const Way& way);
  void take_turn(const Way& way);
  void serve(int site);
  std::int64_t launch(const Way& way);
  Segment take_segment(const Way& way);
  void damage(const Way& way, std::vector<std::byte>& bytes);
  void send_ending(const Way& way, Ending ending);
  void land(const Way& way);
  void deliver(const Way& way, Segment segment);
  void deliver_ending(const Way& way, Ending ending);
  void give_credit(const Way& way, std::size_t bytes);
  void remind(const ConnectionPtr& connection, int side, bool Endpoint::* hint);

  std::int64_t now_ns_ = 0;
  Events events_;
  std::vector<Host> hosts_;
  std::vector<Path> paths_;
  std::uint32_t next_connection_ = 1;
};

// How long `bytes` take; 0 bits/s is no limit.
std::int64_t wire_time_ns(std::size_t bytes, std::int64_t bits_per_s, std::int64_t slow_factor);

}  // namespace isthmus::sim
