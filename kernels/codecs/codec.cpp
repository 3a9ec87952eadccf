// Wires as sections, and the last block of a wire: kernels see whole blocks only.
#include "codecs/codec.hpp"

#include <algorithm>
#include <cstring>

namespace isthmus::codecs {
namespace {

std::uint64_t blocks_of(const Codec& codec, std::uint64_t elements) {
  return elements / codec.block + (elements % codec.block != 0 ? 1 : 0);
}

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + section_alignment - 1) / section_alignment * section_alignment;
}

int count_sections(const Codec& codec) {
  int count = 0;
  while (count < max_sections && codec.section_bytes[static_cast<std::size_t>(count)] != 0) ++count;
  return count;
}

// Section `index` of a wire of `blocks`, with the zeros after it.
Piece section(const Codec& codec, std::uint64_t blocks, int index) {
  Piece piece;
  const int count = count_sections(codec);
  for (int i = 0; i <= index; ++i) {
    piece.offset += piece.bytes;
    piece.bytes = blocks * codec.section_bytes[static_cast<std::size_t>(i)];
    if (i + 1 < count) piece.bytes = aligned(piece.bytes);
  }
  return piece;
}

template <class To, class Byte>
To sections_at(const Codec& codec, Byte* wire, std::uint64_t elements, std::uint64_t begin) {
  To to;
  const std::uint64_t blocks = blocks_of(codec, elements);
  for (int i = 0; i < count_sections(codec); ++i) {
    const auto at = static_cast<std::size_t>(i);
    to.at[at] =
        wire + section(codec, blocks, i).offset + begin / codec.block * codec.section_bytes[at];
  }
  return to;
}

// A count of elements: whole blocks, and the elements of one that is not.
struct Cut {
  std::size_t blocks;
  std::uint32_t left;
};

Cut cut(const Codec& codec, std::uint64_t count) {
  return {static_cast<std::size_t>(count / codec.block),
          static_cast<std::uint32_t>(count % codec.block)};
}

template <class W>
W after(const Codec& codec, W wire, std::size_t blocks) {
  for (std::size_t i = 0; i < max_sections; ++i) {
    if (wire.at[i] != nullptr) wire.at[i] += blocks * codec.section_bytes[i];
  }
  return wire;
}

// The last block, filled up with zeros; its residuals too.
void encode_last(const Codec& codec, const Source& from, std::size_t begin, std::uint32_t left,
                 const Wire& to) {
  std::array<float, max_block> values{};
  std::array<std::byte, max_block * 4> residuals{};
  std::copy_n(from.values + begin, left, values.begin());
  Source last{.values = values.data()};
  Feedback feedback{};
  std::size_t bytes = 0;
  if (from.feedback != nullptr) {
    const std::size_t width = width_of(from.feedback->type);
    bytes = left * width;
    feedback = *from.feedback;
    if (feedback.now != nullptr) {
      std::copy_n(feedback.now + begin * width, bytes, residuals.begin());
      feedback.now = residuals.data();
    }
    feedback.next = residuals.data();
    last.feedback = &feedback;
  }
  Dither dither{};
  if (from.dither != nullptr) {
    dither = *from.dither;
    dither.group += static_cast<std::uint32_t>(begin / 8);
    last.dither = &dither;
  }
  codec.encode(last, {.blocks = 1, .filled = left}, to);
  if (bytes > 0) {
    std::copy_n(residuals.begin(), bytes,
                from.feedback->next + begin * width_of(from.feedback->type));
  }
}

bool zeros_between(const Codec& codec, std::span<const std::byte> wire, std::uint64_t blocks) {
  for (int i = 0; i + 1 < count_sections(codec); ++i) {
    const Piece piece = section(codec, blocks, i);
    const std::uint64_t used = blocks * codec.section_bytes[static_cast<std::size_t>(i)];
    const auto gap = wire.subspan(piece.offset + used, piece.bytes - used);
    if (std::any_of(gap.begin(), gap.end(), [](std::byte b) { return b != std::byte{}; })) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::uint32_t granule(const Codec& codec) {
  const int count = count_sections(codec);
  std::uint32_t blocks = 1;
  for (int i = 0; i + 1 < count; ++i) {
    const std::uint32_t bytes = codec.section_bytes[static_cast<std::size_t>(i)];
    while (blocks * bytes % section_alignment != 0) blocks *= 2;
  }
  return blocks * codec.block;
}

std::uint64_t wire_size(const Codec& codec, std::uint64_t elements) {
  const Piece last = section(codec, blocks_of(codec, elements), count_sections(codec) - 1);
  return last.offset + last.bytes;
}

int pieces(const Codec& codec, std::uint64_t elements, std::uint64_t begin, std::uint64_t count,
           std::span<Piece, max_sections> out) {
  const int sections = count_sections(codec);
  for (int i = 0; i < sections; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Piece whole = section(codec, blocks_of(codec, elements), i);
    const Piece own = section(codec, blocks_of(codec, count), i);
    out[at] = {.offset = whole.offset + begin / codec.block * codec.section_bytes[at],
               .bytes = own.bytes};
  }
  return sections;
}

Wire sections(const Codec& codec, std::byte* wire, std::uint64_t elements, std::uint64_t begin) {
  return sections_at<Wire>(codec, wire, elements, begin);
}

ConstWire sections(const Codec& codec, const std::byte* wire, std::uint64_t elements,
                   std::uint64_t begin) {
  return sections_at<ConstWire>(codec, wire, elements, begin);
}

void encode(const Codec& codec, const Source& from, std::uint64_t elements,
            std::span<std::byte> wire) {
  write_padding(codec, wire, elements);
  encode_part(codec, from, wire, elements, 0, elements);
}

void write_padding(const Codec& codec, std::span<std::byte> wire, std::uint64_t elements) {
  const std::uint64_t blocks = blocks_of(codec, elements);
  for (int i = 0; i + 1 < count_sections(codec); ++i) {
    const Piece piece = section(codec, blocks, i);
    const std::uint64_t used = blocks * codec.section_bytes[static_cast<std::size_t>(i)];
    std::fill_n(wire.data() + piece.offset + used, piece.bytes - used, std::byte{});
  }
}

void encode_part(const Codec& codec, const Source& from, std::span<std::byte> wire,
                 std::uint64_t elements, std::uint64_t begin, std::uint64_t count) {
  const Wire to = sections(codec, wire.data(), elements, begin);
  const auto [blocks, left] = cut(codec, count);
  if (blocks > 0) codec.encode(from, {.blocks = blocks, .filled = codec.block}, to);
  if (left > 0) encode_last(codec, from, blocks * codec.block, left, after(codec, to, blocks));
}

bool valid(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements) {
  if (!zeros_between(codec, wire, blocks_of(codec, elements))) return false;
  const ConstWire from = sections(codec, wire.data(), elements, 0);
  const auto [blocks, left] = cut(codec, elements);
  if (blocks > 0 && !codec.valid(from, {.blocks = blocks, .filled = codec.block})) return false;
  return left == 0 || codec.valid(after(codec, from, blocks), {.blocks = 1, .filled = left});
}

bool decode(const Codec& codec, std::span<const std::byte> wire, std::span<float> out) {
  if (!valid(codec, wire, out.size())) return false;
  decode_part(codec, wire, out.size(), 0, out);
  return true;
}

bool decode_add(const Codec& codec, std::span<const std::byte> wire, float weight,
                std::span<float> sum) {
  if (!valid(codec, wire, sum.size())) return false;
  decode_add_part(codec, wire, sum.size(), 0, weight, sum);
  return true;
}

void decode_part(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements,
                 std::uint64_t begin, std::span<float> part) {
  const ConstWire from = sections(codec, wire.data(), elements, begin);
  const auto [blocks, left] = cut(codec, part.size());
  codec.decode(from, blocks, part.data());
  if (left == 0) return;
  std::array<float, max_block> last;
  codec.decode(after(codec, from, blocks), 1, last.data());
  std::copy_n(last.begin(), left, part.data() + blocks * codec.block);
}

void decode_add_part(const Codec& codec, std::span<const std::byte> wire, std::uint64_t elements,
                     std::uint64_t begin, float weight, std::span<float> part) {
  const ConstWire from = sections(codec, wire.data(), elements, begin);
  const auto [blocks, left] = cut(codec, part.size());
  codec.decode_add(from, blocks, weight, part.data());
  if (left == 0) return;
  std::array<float, max_block> last{};
  float* const rest = part.data() + blocks * codec.block;
  std::copy_n(rest, left, last.begin());
  codec.decode_add(after(codec, from, blocks), 1, weight, last.data());
  std::copy_n(last.begin(), left, rest);
}

}  // namespace isthmus::codecs
