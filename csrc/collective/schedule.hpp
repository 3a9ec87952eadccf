// Schedule: one rank's part in a collective, as data. Who sends which elements to whom, and what
// must be summed first.
//
// Made by pure functions (direct.cpp, gather.cpp, ring.cpp, broadcast.cpp, swap.cpp,
// hand.cpp), proved for
// worlds of 1 to 64 without a network, and run by Executor. All ranks of a collective make theirs
// from the same (world, stretches), so both ends of a transfer agree on its number and its span
// without asking. Empty spans make no transfer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace isthmus {

// Elements [begin, begin + count). It begins and ends where a stretch may be cut.
struct Span {
  std::uint64_t begin = 0;
  std::uint64_t count = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

enum class Source : std::uint8_t {
  input,     // this rank's own wire
  sum,       // sums[from], encoded
  received,  // the bytes of receives[from], unchanged
};

struct Send {
  int peer;
  std::uint32_t
      transfer;  // its number among this pair's, from sender to receiver; there may be gaps
  Span span;
  Source source;
  int from;  // index, where source says so; else -1
};

enum class Role : std::uint8_t {
  term,     // the peer's input: an addend of a sum, times the peer's weight (wire: up)
  partial,  // a sum that is weighted already: an addend as it is (wire: up)
  result,   // the finished elements (wire: down)
  copy,     // the finished elements as the peer's input has them (wire: up)
};

struct Receive {
  int peer;
  std::uint32_t transfer;
  Span span;
  Role role;
};

// Adds its terms in order. `own_input` among the terms stands for this rank's input; other values
// index receives.
struct Sum {
  static constexpr int own_input = -1;
  Span span;
  std::vector<int> terms;
  // What the rank does with a finished sum. partial: it goes on as it is, encoded with up (ring).
  // total: it is divided by the weights, encoded with down, and its own decoding is this rank's
  // result (direct, ring). local: it is divided and is the result without another rounding
  // (gather), and so never sent. copy: the one term is the result, neither weighted nor divided
  // (broadcast).
  enum class Kind : std::uint8_t { partial, total, local, copy } kind;
};

struct Schedule {
  std::vector<Send> sends;  // those to one peer leave in this order as they become ready
  std::vector<Receive> receives;
  std::vector<Sum> sums;
};

enum class Algorithm : std::uint8_t {
  direct = 1,
  gather = 2,
  ring = 3,
  broadcast = 4,
  swap = 5,
  hand = 6
};

// Elements that may be cut at multiples of `granule`, counted from the stretch's beginning.
struct Stretch {
  std::uint64_t elements;
  std::uint32_t granule;
};

// What an owner has of the elements, in 65,536ths: one for each rank, together `whole_share`. None:
// all the same.
using Shares = std::vector<std::uint32_t>;
inline constexpr std::uint32_t whole_share = 1 << 16;
// In the same proportions, and together whole_share; of nothing but zeros none.
Shares whole(const Shares& shares);

// In which order a ring goes round: ranks by place, each once. None: by rank. Of a hand: who takes,
// each once.
using Order = std::vector<std::uint16_t>;

// REQUIRES: 0 <= rank < world, every granule is above 0, and shares and order are as said.
struct Shape {
  int rank;
  int world;
  std::vector<Stretch> stretches;
  Shares shares{};
  Order order{};

  std::uint64_t elements() const;
};

Schedule direct_all_reduce(const Shape& shape);
Schedule gather_all_reduce(const Shape& shape);
// The same transfers, of a rank that keeps the terms and sums nothing (terms.hpp).
Schedule gather_terms(const Shape& shape);
Schedule ring_all_reduce(const Shape& shape);
Schedule broadcast(const Shape& shape, int root);  // REQUIRES: 0 <= root < world
// REQUIRES: 0 <= root, taker < world.
Schedule hand(const Shape& shape, int root, const Order& takers);
// REQUIRES: 0 <= round < swap_rounds(world). A rank that has nobody keeps its own.
Schedule swap(const Shape& shape, int round);
int swap_rounds(int world);
int swap_partner(int rank, int world, int round);
// Any of them. `root`: of a broadcast or hand; of a swap its round.
Schedule make_schedule(Algorithm algorithm, const Shape& shape, int root = 0);

// The owner's part of the elements, as near to its share as the granules allow. Parts follow each
// other in the order of their owners.
Span share(const Shape& shape, int owner);

}  // namespace isthmus
