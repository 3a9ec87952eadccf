// Loop: carries packets between the TUN devices of emulated sites, in the thread that runs it.
//
// A packet passes three drop-tail queues: its site's uplink and the pair's line when it enters and,
// one delay later, the target's downlink; so a slow receiver never holds up what its senders have
// for others. Loss strikes single segments. For the packet loop's process alone: nothing here knows
// namespaces, and devices stay their opener's.
#pragma once

#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/status.hpp"
#include "wan/loss.hpp"
#include "wan/orders.hpp"
#include "wan/packet.hpp"
#include "wan/queue.hpp"

namespace isthmus::wan {

inline constexpr int whole_site = -1;
inline constexpr std::size_t most_sites = 64;
inline constexpr std::size_t most_held_bytes = std::size_t{1} << 30;  // more in flight is dropped

struct Site {
  int device = -1;            // non-blocking TUN device with IFF_VNET_HDR
  std::uint32_t address = 0;  // host order
  double up_bps = 0;          // 0: unlimited, here and below
  double down_bps = 0;
  std::int64_t queue_ns = 0;
};

// One direction of a pair.
struct Line {
  int from = 0;
  int to = 0;
  double rate_bps = 0;
  std::int64_t delay_ns = 0;
  double loss = 0;
  std::int64_t queue_ns = 0;
};

// From `after_ns` on, for `length_ns`, nothing passes between `site` and `other` (or anybody).
struct Cut {
  int site = 0;
  int other = whole_site;
  std::int64_t after_ns = 0;
  std::int64_t length_ns = never_ns;
};

struct Settings {
  std::vector<Site> sites;
  std::vector<Line> lines;  // one for every ordered pair
  std::vector<Cut> cuts;
  std::uint64_t seed = 0;
};

// Bytes as on the wire: every segment with its own IP and TCP header.
struct Tally {
  std::uint64_t segments = 0;
  std::uint64_t bytes = 0;
};

// What became of all that was sent: sent = delivered + lost + dropped + cut + held.
struct Count {
  int from = 0;
  int to = 0;
  Tally sent, delivered;
  Tally lost;     // by chance
  Tally dropped;  // by a full queue, or a device that took no more
  Tally cut;
  Tally held;  // still under way
};

Status check(const Settings& settings);

class Loop {
 public:
  // REQUIRES: check(settings).ok().
  // `orders` outlives the loop; null: there are none.
  Loop(Settings settings, const Clock& clock, Orders* orders = nullptr);

  // Returns when one of the descriptors in `stop` is readable or closed. Cuts count from the call.
  Status run(const std::vector<int>& stop);
  std::vector<Count> counts() const;

 private:
  struct Road {  // what a Line is in motion
    Line line;
    Queue queue;
    Loss loss;
    Count count;
    int to_corrupt = 0;
  };
  struct Slowness {
    double factor = 1;
    std::int64_t until_ns = never_ns;
  };
  struct Flight {  // a packet under way
    std::int64_t at_ns = 0;
    std::uint64_t serial = 0;  // keeps the order of what is due at one time
    Road* road = nullptr;
    bool before_downlink = true;
    Tally size;
    std::vector<std::byte> packet;
  };
  static bool later(const Flight& a, const Flight& b);

  void heed_orders();
  void slow_down(std::size_t site, double factor);
  void read_from(std::size_t site);
  void enter(std::size_t site, std::size_t size);
  void send(Road& road, std::int64_t now_ns, Tally size, std::vector<std::byte> packet);
  std::vector<std::byte> take_buffer(std::size_t size);
  void push(Flight flight);
  void move_due();
  void deliver(Flight& flight);
  bool is_cut(const Line& line, std::int64_t now_ns) const;

  Settings settings_;
  const Clock& clock_;
  Orders* orders_;
  std::vector<Slowness> slow_;  // by site
  std::vector<Queue> uplinks_, downlinks_;
  std::vector<Road> roads_;  // [from * sites + to]
  std::unordered_map<std::uint32_t, std::size_t> site_of_;
  std::vector<Flight> flights_;                // a heap, the next one first
  std::vector<std::vector<std::byte>> spare_;  // buffers for large packets
  std::vector<std::byte> buffer_;
  std::uint64_t serial_ = 0;
  std::size_t held_bytes_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace isthmus::wan
