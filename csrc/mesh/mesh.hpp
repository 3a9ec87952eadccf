// Mesh: the links to all peers of one roster, from the first dial to the last handshake.
//
// Of two sites the one of higher rank dials, unless the other has no address to dial. A stream
// begins with a hello that names run, generation, both ranks and the stream's number, and is used
// after the other end's welcome. Where the one that dials does not get through, the other one makes
// connections for it to say hello on, and third sites are asked, the lowest rank first, to splice
// connections to both (relay.hpp). Strangers at the listening port are bounded in number, bytes and
// time, before and after the mesh stands. While it stands, the end that dials can add streams.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mesh/hello.hpp"
#include "mesh/relay.hpp"
#include "mesh/roster.hpp"
#include "net/link.hpp"

namespace isthmus {

inline constexpr int direct_way = -1;  // by way of nobody

class Mesh {
 public:
  // `listener` may be null: then every peer must have an address to dial. `relays`: what goes
  // between this site and others may pass a third one, and this site passes on what others
  // exchange.
  Mesh(Network& network, std::unique_ptr<Listener> listener, std::int64_t heartbeat_timeout_ns,
       bool relays = true);

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

  // A stream that was added to a link that lives.
  struct Added {
    int peer;
    std::unique_ptr<Stream> stream;
    std::uint16_t number;
    bool dialled;  // by this site
  };
  bool dials(int peer) const;  // this site is the one that opens streams to it
  // Dials `count` data streams more, and perhaps another control stream, in the place of those that
  // are still being dialled. One that cannot be had in 10 s is done without. REQUIRES: dials(peer),
  // and the links are taken.
  void add_streams(int peer, int count, bool control, std::int64_t now_ns);
  int dialling(int peer) const;  // so many now
  // Connections for the end that dials to say hello on, if it cannot make them itself.
  void offer_streams(int peer, int count, std::int64_t now_ns);
  std::vector<Added> take_added() { return std::exchange(added_, {}); }

  const Roster& roster() const { return roster_; }
  std::string listening_at() const { return listener_ ? listener_->address() : ""; }
  // By rank: the site by way of which a peer is reached, or direct_way.
  const std::vector<int>& ways() const { return ways_; }
  // What this site carries between others; step() goes on with it after close() too.
  const Relay& relay() const { return relay_; }
  // The port is free again. Streams that others would open to this site are not to be had any more.
  void stop_listening() { listener_.reset(); }
  // No further guests either.
  void close();

 private:
  // Who came to our port or was dialled to be offered a stream; the next word is its own.
  struct Guest {
    Channel channel;
    std::int64_t deadline_ns;
    std::optional<Message> word{};
    int offered_to = -1, offered_at = -1;  // ranks, if it is an offer of ours
  };
  struct Dial {  // one stream that we open
    int peer;
    std::uint16_t stream;
    std::int64_t retry_ns;
    std::unique_ptr<Channel> channel{};
    int way = direct_way;
    enum class Said { nothing, wish, hello } said = Said::nothing;
    std::string last_error{};
    std::int64_t opened_ns = 0;        // its channel
    std::int64_t until_ns = never_ns;  // of one that is added: when it is done without
    bool numbered = true;              // so that its hello is told apart: of data
    bool over = false;
  };
  struct Attempt {  // to reach a peer by one way
    int way;
    std::string error{};  // why it failed
  };
  struct Route {  // all ways to a peer, tried in a circle
    std::vector<Attempt> attempts{};
    std::size_t at = 0;
    std::int64_t since_ns = 0;
    bool refused = false;  // the third site has said no
    bool all_tried = false;
  };

  void accept(std::int64_t now_ns);
  bool serve(Guest& guest, std::int64_t now_ns);  // false: done with it
  void take_word(Guest& guest, std::int64_t now_ns);
  void seat(Guest& guest);
  void refuse(Channel channel, const std::string& why) const;
  bool has_seat(int peer, const Hello& hello) const;
  bool may_add(int peer, const Hello& hello) const;
  bool meets(int peer) const;        // a stream with it stands
  int streams_with(int peer) const;  // data streams
  Header stamp(Kind kind) const;
  const Member& member(int rank) const { return roster_.members[static_cast<std::size_t>(rank)]; }

  // Dialling (dialling.cpp).
  Status plan_routes(std::int64_t now_ns, std::int64_t deadline_ns);
  void step_dial(Dial& dial, std::int64_t now_ns);
  void open(Dial& dial, std::int64_t now_ns);
  int way_now(int peer) const;
  std::optional<int> way_taken(int peer) const;
  void say_hello(Dial& dial, int way);
  Status greet(Dial& dial);
  void take_seat(Dial& dial);
  Status hear_relay(Dial& dial, const Message& message);
  Status heed_refusal(const Dial& dial, const Message& message);
  Status step_route(int peer, std::int64_t now_ns);
  void take_next_way(int peer, std::int64_t now_ns);
  Status unreachable(int peer) const;
  void take_offer(Guest& guest, std::int64_t now_ns);
  void make_offers(int peer, std::int64_t now_ns);
  std::ptrdiff_t offers_to(int peer, int at) const;
  void make_offer(int at, int peer, std::int64_t now_ns);

  Network& network_;
  std::unique_ptr<Listener> listener_;
  std::int64_t heartbeat_timeout_ns_;
  bool relays_;
  Roster roster_;
  int rank_ = -1;
  std::int64_t dial_until_ns_ = 0;
  std::int64_t deadline_ns_ = never_ns;
  std::int64_t way_for_ns_ = 0;  // until another one is tried
  std::deque<Guest> guests_;
  std::vector<Dial> dials_;
  std::vector<Route> routes_;              // by rank; no attempts: the peer says hello
  std::vector<std::int64_t> next_offers_;  // by rank: when they are made again
  std::vector<int> ways_;
  Relay relay_;
  // seats_[peer][stream]
  std::vector<std::vector<std::unique_ptr<Stream>>> seats_;
  bool links_taken_ = false;
  std::vector<std::uint32_t> next_numbers_;  // by rank, of streams that are added
  std::vector<Added> added_;
};

}  // namespace isthmus
