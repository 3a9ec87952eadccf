// SimNet: a whole world of sites in one thread, in virtual time, under a seed. The same seed gives
// the same run.
//
// It is the Clock of the actors that it runs, and gives each site a Network whose streams behave as
// TCP would over links with rates, delays, loss and faults. It never looks at the machine's clock,
// and nothing in it waits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "net/actor.hpp"
#include "net/stream.hpp"

namespace isthmus {

namespace sim {
class World;
}

struct SimSettings {
  int sites = 2;
  std::uint64_t seed = 1;
  std::int64_t latency_ns = 10 * millisecond_ns;  // one way, between any two sites
  std::int64_t jitter_ns = 0;                     // added to a delay: uniform in [0, jitter_ns]
  double loss = 0;                                // chance that a segment must be sent again
  std::int64_t up_bits_per_s = 0;                 // of every site; 0: without limit
  std::int64_t down_bits_per_s = 0;
  // Bytes from write() until the news that they were read is back: both ends' buffers in one. It
  // bounds the memory of a stream, and its rate to window_bytes per round trip.
  std::size_t window_bytes = 4 << 20;
  std::size_t max_segment_bytes = 64 << 10;
  // Segments of random sizes, short reads and short writes. Off: whole segments, for sums done by
  // hand.
  bool torn = true;
  std::int64_t connect_timeout_ns = 127 * second_ns;
  int steps_at_one_instant = 100'000;  // more are a livelock
  int log_events = 0;                  // how many of the last events log() keeps
};

// Why run_until() returned.
enum class SimEnd {
  reached,      // the predicate came true
  out_of_time,  // the limit of virtual time passed
  stuck,        // no event and no deadline is left: nothing will ever happen
  livelock,     // actors step for ever without time passing
};

enum class Fault { kill, freeze, cut, clog, slow, truncate, corrupt };

enum class Damage {
  header,  // a byte of the next frame header that the stream carries
  any,
  data  // any byte of a data stream
};

// Faults drawn by the seed. All but kill, truncate and corrupt end after at most longest_ns.
struct Storm {
  std::vector<Fault> faults;  // to draw from
  int count = 1;
  std::int64_t from_ns = 0;
  std::int64_t until_ns = second_ns;
  std::int64_t longest_ns = second_ns;
};

using Tamper = std::function<void(std::vector<std::byte>& segment)>;

class SimNet final : public Clock {
 public:
  explicit SimNet(const SimSettings& settings);
  ~SimNet() override;

  std::int64_t now_ns() const override;
  // Where site `site`'s streams come from. Its addresses are "site<i>:<port>"; listen() also takes
  // any other host as its own, and port 0 as any.
  Network& network(int site);
  // Steps `actor` from now on, at every event of its site. It must stay until the net is done or
  // its site is killed.
  void add(int site, Actor& actor);
  // `done` is asked after every round of steps. `limit_ns` is a time, not a duration.
  SimEnd run_until(const std::function<bool()>& done, std::int64_t limit_ns);
  // Calls at a virtual time: `net.at(2 * second_ns, [&] { net.kill(3); })`.
  void at(std::int64_t when_ns, std::function<void()> call);

  // The shape of the world; may change during the run, and holds for what is sent from then on.
  void set_rates(int site, std::int64_t up_bits_per_s, std::int64_t down_bits_per_s);
  void set_path(int site, int peer, std::int64_t latency_ns, std::int64_t jitter_ns, double loss);
  // Nobody can connect to `site`: refused, or no answer at all until connect_timeout_ns.
  void set_not_dialable(int site, bool refuse);

  // `site` cannot connect to `peer`: refused, or no answer at all. The other way round is another
  // matter, and connections that stand go on.
  void block(int site, int peer, bool refuse);

  // Faults, from now on. `for_ns` may be never_ns.
  void kill(int site);  // the process is gone; peers read a part of what it wrote, and then a reset
  void revive(int site);  // a new process may be added; the old actors stay dead
  void freeze(int site, std::int64_t for_ns);  // the process stands still; its kernel does not
  void cut(int site, int peer,
           std::int64_t for_ns);            // nothing passes; what was sent comes after the cut
  void cut(int site, std::int64_t for_ns);  // from all others
  void heal(int site, int peer);            // ends cuts and clogs
  void slow(int site, int factor,
            std::int64_t for_ns);  // its times and delays are `factor` times as long
  // Of one stream between the two, chosen by the seed; false: there is none.
  bool clog(int site, int peer, std::int64_t for_ns);  // bytes from `site` stand still
  bool truncate(int site, int peer);                   // breaks, in the middle of bytes from `site`
  bool corrupt(int site, int peer, Damage damage);     // one byte from `site` arrives changed
  // Of one of their data streams: it breaks at once, at any byte; or nothing passes it any more,
  // and an end that writes gives it up after `patience_ns`.
  bool reset_data(int site, int peer);
  bool reset_control(int site, int peer);  // the same of their control stream
  bool silence_data(int site, int peer, std::int64_t patience_ns);
  // Sees and may change every segment that `site` sends.
  void tamper(int site, Tamper tamper);
  // Plans the faults and says them, one sentence each.
  std::vector<std::string> storm(const Storm& storm);

  // A hash over all events: time, stream, bytes.
  std::uint64_t trace_hash() const;
  std::vector<std::string> log() const;

 private:
  struct Running {
    int site;
    Actor* actor;
    std::int64_t deadline_ns;
    std::uint32_t life;  // the life of the site that it belongs to
    bool due;
  };

  std::int64_t next_deadline() const;
  bool step_all();
  std::string plan(Fault fault, const Storm& storm);

  std::shared_ptr<sim::World> world_;
  std::vector<std::unique_ptr<Network>> networks_;
  std::vector<Running> running_;
  std::vector<std::size_t> order_;
};

}  // namespace isthmus
