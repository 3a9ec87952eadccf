// Mesh: the links to all peers of one roster, from the first dial to the last handshake.
//
// Of two sites the one of higher rank dials, unless the other has no address to dial. A stream
// begins with a hello that names run, generation, both ranks and the stream's number, and is used
// after the other end's welcome. Strangers at the listening port are bounded in number, bytes and
// time, before and after the mesh stands.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "mesh/roster.hpp"
#include "net/link.hpp"

namespace isthmus {

class Mesh {
 public:
  // `listener` may be null: then every peer must have an address to dial.
  Mesh(Network& network, std::unique_ptr<Listener> listener, std::int64_t heartbeat_timeout_ns);

  // Begins to connect to everybody in the roster. REQUIRES: roster.members[rank] is this site.
  Status start(const Roster& roster, int rank, std::int64_t now_ns, std::int64_t deadline_ns);

  // Dials, accepts, shakes hands. Not ok: the mesh cannot stand, and why.
  Status step(std::int64_t now_ns);
  std::int64_t deadline_ns() const { return deadline_ns_; }
  bool complete() const;
  std::string missing() const;  // the peers whose streams do not all stand, in quotes
  // Once complete; the element of this site itself is null. A peer's own mesh may take until
  // `first_word_by_ns` to stand; from its first byte on, heartbeats count.
  std::vector<std::unique_ptr<Link>> take_links(std::int64_t first_word_by_ns);

  const Roster& roster() const { return roster_; }
  std::string listening_at() const { return listener_ ? listener_->address() : ""; }
  // No further guests; the port is free again.
  void close();

 private:
  struct Guest {  // came to our port
    Channel channel;
    std::int64_t deadline_ns;
    std::optional<Message> hello;
  };
  struct Dial {  // one stream that we open
    int peer;
    std::uint16_t stream;
    std::unique_ptr<Channel> channel;
    std::int64_t retry_ns;
    std::string last_error;
    bool greeted = false;
  };

  void accept(std::int64_t now_ns);
  bool serve(Guest& guest, std::int64_t now_ns);  // false: done with it
  void seat(Guest& guest);
  Status step_dial(Dial& dial, std::int64_t now_ns);
  Status greet(Dial& dial);
  Status unreachable(const Dial& dial) const;
  int streams_with(int peer) const;  // data streams
  Header stamp(Kind kind) const;

  Network& network_;
  std::unique_ptr<Listener> listener_;
  std::int64_t heartbeat_timeout_ns_;
  Roster roster_;
  int rank_ = -1;
  std::int64_t dial_until_ns_ = 0;
  std::int64_t deadline_ns_ = never_ns;
  std::deque<Guest> guests_;
  std::vector<Dial> dials_;
  // seats_[peer][stream]
  std::vector<std::vector<std::unique_ptr<Stream>>> seats_;
};

}  // namespace isthmus
