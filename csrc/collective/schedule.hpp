// Schedule: one rank's part in a collective, as data. Who sends which elements to whom, and what must be summed first.
//
// Made by pure functions (direct.hpp, gather.hpp, ring.hpp), proved for worlds of 1 to 64 without a network, and run
// by Executor. All ranks of a collective make theirs from the same (world, elements, block), so both ends of a
// transfer agree on its number and its span without asking.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace isthmus {

// Elements [begin, begin + count). `begin` is a multiple of the codec's block.
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
  std::uint32_t transfer;  // numbers this pair's transfers, from sender to receiver, from 0
  Span span;
  Source source;
  int from;  // index, where source says so; else -1
};

enum class Role : std::uint8_t {
  term,    // an addend of a sum
  result,  // the finished elements
};

struct Receive {
  int peer;
  std::uint32_t transfer;
  Span span;
  Role role;
};

// Adds its terms in order. `own_input` among the terms stands for this rank's input; other values index receives.
struct Sum {
  static constexpr int own_input = -1;
  Span span;
  std::vector<int> terms;
  // What the rank does with a finished sum. partial: it goes on as it is (ring). total: it is divided by the
  // weights, encoded, and its own decoding is this rank's result (direct, ring). local: it is divided and is the
  // result without another rounding (gather), and so never sent.
  enum class Kind : std::uint8_t { partial, total, local } kind;
};

struct Schedule {
  std::vector<Send> sends;  // those to one peer leave in this order as they become ready
  std::vector<Receive> receives;
  std::vector<Sum> sums;
};

enum class Algorithm : std::uint8_t { direct = 1, gather = 2, ring = 3, broadcast = 4 };

struct Shape {
  int rank;
  int world;
  std::uint64_t elements;
  std::uint32_t block;
};

Schedule direct_all_reduce(const Shape& shape);
Schedule gather_all_reduce(const Shape& shape);
Schedule ring_all_reduce(const Shape& shape);
Schedule broadcast(const Shape& shape, int root);

// The owner's share of `elements`, cut at multiples of `block`, as even as that allows.
Span share(std::uint64_t elements, std::uint32_t block, int world, int owner);

}  // namespace isthmus
