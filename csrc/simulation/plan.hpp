// WorldPlan: everything that will happen to some sites in the simulator, as data: who they are,
// what they call, what goes wrong. Drawn by a seed, or written down by a test.
#pragma once

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "net/sim.hpp"
#include "session/engine.hpp"

namespace isthmus {

// Never longer than a site's patience allows, or never mistaken for less: nothing in between is
// drawn.
enum class Trouble {
  kill,
  freeze,
  cut,      // between site and peer
  isolate,  // the site from all others
  clog,     // one stream from site to peer
  slow,
  truncate,  // one stream between site and peer breaks in the middle of bytes
  corrupt,   // one byte on one stream from site to peer: of a header, or any
  lie,       // frame headers of site, well formed and wrong
  leave,     // the site closes its session while operations are in flight
  absent,    // the site never comes
  coordinator_killed,
  reset,    // one data stream between site and peer, at any byte: nobody is to notice
  silence,  // nothing passes by one data stream any more, and neither end is told
  payload,  // one byte of a data stream from site to peer
  control,  // the control stream between site and peer is reset, at any byte
};

enum class Lie { offset, length, transfer, operation, source, garbage, twice };

struct TroublePlan {
  Trouble kind = Trouble::kill;
  std::int64_t at_ns = 0;
  int site = 0;
  int peer = 0;
  std::int64_t for_ns = never_ns;
  int factor = 1;
  Lie lie = Lie::offset;
  Damage damage = Damage::header;  // corrupt
};

// `from` cannot connect to `to`.
struct BlockPlan {
  int from = 0;
  int to = 0;
  bool refuses = false;  // else there is no answer
};

// From then on the link between two sites has so many data streams.
struct StreamsPlan {
  std::int64_t at_ns = 0;
  int site = 0;
  int peer = 0;
  int count = 1;
};

struct SitePlan {
  std::string name;
  std::int64_t join_ns = 0;
  std::int64_t close_after_ns = 0;  // counted from the end of its last work
  std::int64_t up_bits_per_s = 0;
  std::int64_t down_bits_per_s = 0;
  int streams = 0;
  bool listens = true;
  bool relays = true;
};

struct SegmentPlan {  // of an all_reduce
  std::string up = "f32";
  std::string down = "f32";
  std::uint64_t elements = 1;
};

struct OperationPlan {
  Collective collective = Collective::all_reduce;
  Algorithm algorithm = Algorithm::direct;
  Shares shares;
  Order order;
  std::uint32_t slice_elements = default_slice_elements;
  std::vector<SegmentPlan> segments;  // all_reduce
  std::uint64_t elements = 1;         // of all segments; broadcast, all_gather: bytes
  bool mean = false;
  int root = 0;                         // broadcast, hand: a rank
  int odd_site = -1;                    // asks for one element more than the others
  std::vector<std::int64_t> submit_ns;  // by site, counted from when all could have joined
  std::vector<float> weights;           // by site
};

struct WorldPlan {
  std::uint64_t seed = 1;
  std::vector<SitePlan> sites;
  std::vector<std::int64_t> latency_ns;  // one way; [site * number of sites + peer]
  std::int64_t jitter_ns = 0;
  double loss = 0;
  bool torn = true;
  std::size_t window_bytes = 4 << 20;
  std::size_t max_segment_bytes = 64 << 10;
  std::int64_t timeout_ns = 20 * second_ns;
  std::int64_t heartbeat_timeout_ns = 5 * second_ns;
  OnLoss on_loss = OnLoss::raise;
  int min_sites = 1;
  int favourite = -1;  // a site
  int strangers = 0;
  std::vector<BlockPlan> blocks;
  std::vector<OperationPlan> operations;
  std::vector<TroublePlan> troubles;
  std::vector<StreamsPlan> streams;  // by time

  int world() const { return static_cast<int>(sites.size()); }
  std::int64_t begin_ns() const;   // when the last site has come
  std::vector<int> ranks() const;  // by site: its place in the order of the names
};

// `faults` false: nothing goes wrong, beyond loss, jitter and strangers.
WorldPlan draw_world(std::uint64_t seed, bool faults);

// A world in which sites carry on after a loss, with losses: before, in and between operations, and
// while they get over another one.
WorldPlan draw_losses(std::uint64_t seed);

// An all_reduce of any shape, for so many sites.
OperationPlan draw_reduction(Random& random, int world, std::uint64_t elements);

// Whether a site gives or takes data in it, of whatever kind; all others end without any.
bool has_part(const OperationPlan& operation, int rank);

// The world in sentences: its shape, what is called, what goes wrong.
std::vector<std::string> describe(const WorldPlan& plan);

// Whether a site can notice it at all. Cuts, clogs and freezes shorter than half a heartbeat
// timeout must be survived.
bool survivable(const TroublePlan& trouble, const WorldPlan& plan);

}  // namespace isthmus
