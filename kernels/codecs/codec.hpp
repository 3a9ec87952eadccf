// Codec: float32 elements to wire bytes and back. Pure arithmetic: no I/O, no allocation, no
// globals, no threads.
//
// A wire of N elements is one or more sections (scales, indices, values), each contiguous, so a
// range of whole blocks maps to one piece of each section. The pieces of a range, put together, are
// the wire of those elements standing alone: that is how slices travel.
//
// Every implementation of a codec (CPU, Triton, CUDA, NumPy reference) makes and reads the same
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace isthmus::codecs {

enum class Id : std::uint8_t {
#define ISTHMUS_CODEC(id, name) name = id,
#include "codecs/codecs.def"
#undef ISTHMUS_CODEC
};

inline constexpr int max_sections = 3;

// `bytes` of the wire beginning at `offset`.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct Codec {
  Id id;
  std::string_view name;
  std::uint32_t block;  // elements that share a scale; ranges begin at its multiples
  bool recodable;       // a sum may be encoded again (the ring, and owners of `direct`)
  bool identity;        // the wire is the float32 elements as they are

  std::uint64_t (*wire_size)(std::uint64_t elements);

  // Writes the pieces of elements [begin, begin + count) of a wire of `elements`, and returns how
  // many.
  // REQUIRES: begin is a multiple of block; begin + count is one too, or equals elements.
  int (*pieces)(std::uint64_t elements, std::uint64_t begin, std::uint64_t count,
                std::span<Piece, max_sections> out);

  // REQUIRES: wire.size() == wire_size(in.size()).
  void (*encode)(std::span<const float> in, std::span<std::byte> wire);

  // Return false for a malformed wire; nothing is ever read or written out of bounds.
  // REQUIRES: wire.size() == wire_size(out.size()).
  bool (*decode)(std::span<const std::byte> wire, std::span<float> out);
  // sum[i] += weight * decoded[i], each product and sum rounded to float32.
  bool (*decode_add)(std::span<const std::byte> wire, float weight, std::span<float> sum);
};

// What an implementation may assume of the processor, plainest first. Every codec offers every
// level: a level that it has no code for is served by the next plainer one, with the same bytes.
enum class Isa : std::uint8_t { portable, avx2 };

Isa best_isa();  // the most that this processor has

// The table, in the order of codecs.def, for this processor or (tests, benches) for a plainer one.
std::span<const Codec> all();
std::span<const Codec> all(Isa isa);       // REQUIRES: isa <= best_isa()
const Codec* find(std::string_view name);  // nullptr: no such codec
const Codec* find(Id id);                  // for ids that came from outside

// A number that changes when ids, names or formats do; sites compare it when they meet.
std::uint64_t table_hash();

}  // namespace isthmus::codecs
