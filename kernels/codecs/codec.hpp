// Codec: float32 elements to wire bytes and back. Pure arithmetic: no I/O, no allocation, no
// globals, no threads.
//
// A wire is whole blocks; what is missing in the last one counts as zeros. It lies in one to three
// sections (scales, indices, values) with the same number of bytes for every block. Sections after
// the first begin at multiples of 16 bytes, and the bytes between are zero. So a range that begins
// at a multiple of `granule` elements maps to one piece of each section, and the pieces, put
// together, are the wire of those elements standing alone: that is how slices travel.
//
// Every implementation of a codec (CPU, Triton, CUDA, NumPy reference) makes and reads the same
// bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace isthmus::codecs {

enum class Id : std::uint8_t {
#define ISTHMUS_CODEC(id, name) name = id,
#include "codecs/codecs.def"
#undef ISTHMUS_CODEC
};

inline constexpr int max_sections = 3;
inline constexpr std::uint32_t section_alignment = 16;
inline constexpr std::uint32_t max_block = 4096;
inline constexpr std::uint32_t max_granule = 8 * max_block;

// Where a run of blocks lies in each section.
struct Wire {
  std::array<std::byte*, max_sections> at{};
};
struct ConstWire {
  std::array<const std::byte*, max_sections> at{};
};

enum class ResidualType : std::uint8_t { f32, bf16 };

inline constexpr std::size_t width_of(ResidualType type) {
  return type == ResidualType::f32 ? 4 : 2;
}

// Error feedback. What is encoded is p = value + beta * now, the product and the sum each rounded
// to float32; next = p - decoded, rounded to `type` (to nearest, ties to even).
struct Feedback {
  const std::byte* now;  // residuals of the run's elements; null: none yet, and p = value
  std::byte* next;       // may be `now`
  ResidualType type = ResidualType::f32;
  float beta = 1;
};

// Stochastic rounding (int8, int4): see kernels/rng/philox.hpp. Element i of the run takes the half
// word i % 8 of the call with counter (group + i / 8, step, bucket, stream).
struct Dither {
  std::uint64_t key = 0;
  std::uint32_t group = 0;
  std::uint32_t step = 0, bucket = 0, stream = 0;
};

struct Source {
  const float* values;
  const Feedback* feedback = nullptr;  // null: none
  const Dither* dither = nullptr;      // null: round to nearest
};

// `blocks` whole blocks. `filled`: how many elements of the last block count for its scale; the
// rest are zeros. REQUIRES: 0 < filled <= block, and filled == block unless blocks == 1.
struct Extent {
  std::size_t blocks;
  std::uint32_t filled;
};

struct Codec {
  Id id;
  std::uint8_t variant;   // of the id: its parameters (top-k's k and values); 0: the default
  std::string_view name;  // unique in the table
  std::uint32_t block;    // elements that share a scale
  std::array<std::uint32_t, max_sections> section_bytes;  // of a block; 0: no such section
  bool recodable;  // a sum may be encoded again (the ring, and owners of `direct`)
  bool identity;   // the wire is the float32 elements as they are
  bool feedback;   // error feedback converges (the contraction gate, tests/codecs)
  bool dithers;    // stochastic rounding is offered

  // The kernels. Pointers into a wire may be unaligned.
  void (*encode)(const Source& from, Extent extent, const Wire& to);
  // Whether the wire is one that decode may be trusted with.
  bool (*valid)(const ConstWire& from, Extent extent);
  // Never read or write outside the blocks, whatever the bytes say; they write whole blocks.
  void (*decode)(const ConstWire& from, std::size_t blocks, float* out);
  // sum[i] += weight * decoded[i], each product and sum rounded to float32.
  void (*decode_add)(const ConstWire& from, std::size_t blocks, float weight, float* sum);
};

// `bytes` of the wire beginning at `offset`.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// A range begins at multiples of this many elements.
std::uint32_t granule(const Codec& codec);

std::uint64_t wire_size(const Codec& codec, std::uint64_t elements);

// Writes the pieces of elements [begin, begin + count) of a wire of `elements`, and returns how
// many.
// REQUIRES: begin is a multiple of granule(codec); begin + count is one too, or equals elements.
int pieces(const Codec& codec, std::uint64_t elements, std::uint64_t begin, std::uint64_t count,
           std::span<Piece, max_sections> out);

// Where the block of element `begin` lies in a wire of `elements`. REQUIRES: begin is a multiple
// of the block.
Wire sections(const Codec& codec, std::byte* wire, std::uint64_t elements, std::uint64_t begin);
ConstWire sections(const Codec& codec, const std::byte* wire, std::uint64_t elements,
                   std::uint64_t begin);

// Whole wires. REQUIRES: wire.size() == wire_size(codec, elements), and from.values and its
// residuals hold as many elements.
void encode(const Codec& codec, const Source& from, std::uint64_t elements,
            std::span<std::byte> wire);
inline void encode(const Codec& codec, std::span<const float> in, std::span<std::byte> wire) {
  encode(codec, {.values = in.data()}, in.size(), wire);
}
bool valid(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements);
// Return false, and write nothing, for a wire that is not valid.
[[nodiscard]] bool decode(const Codec& codec, std::span<const std::byte> wire,
                          std::span<float> out);
[[nodiscard]] bool decode_add(const Codec& codec, std::span<const std::byte> wire, float weight,
                              std::span<float> sum);

// A part of a wire of `elements`: those from `begin` on. What is decoded must be valid; what is
// encoded in parts needs write_padding once, for the zeros between sections.
// REQUIRES: begin is a multiple of the block, and the part ends at one or at the wire's end.
void write_padding(const Codec& codec, std::span<std::byte> wire, std::uint64_t elements);
void encode_part(const Codec& codec, const Source& from, std::span<std::byte> wire,
                 std::uint64_t elements, std::uint64_t begin, std::uint64_t count);
void decode_part(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements,
                 std::uint64_t begin, std::span<float> part);
void decode_add_part(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements,
                     std::uint64_t begin, float weight, std::span<float> part);

// What an implementation may assume of the processor, plainest first. Every codec offers every
// level: a level that it has no code for is served by the next plainer one, with the same bytes.
// avx512: F, BW, DQ and VL, and BMI2.
enum class Isa : std::uint8_t { portable, avx2, avx512 };

Isa best_isa();  // the most that this processor has

// The table, in the order of codecs.def, for this processor or (tests, benches) for a plainer one.
std::span<const Codec> all();
std::span<const Codec> all(Isa isa);             // REQUIRES: isa <= best_isa()
const Codec* find(std::string_view name);        // nullptr: no such codec
const Codec* find(Id id, std::uint8_t variant);  // for numbers that came from outside

// A number that changes when ids, names or formats do; sites compare it when they meet.
std::uint64_t table_hash();

}  // namespace isthmus::codecs
