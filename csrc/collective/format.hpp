// Format: what an operation's elements are on the wire. Parameters may differ in codec inside one
// bucket, so a wire is a list of segments.
//
// An input is the segments' wires one after another, each at the next multiple of 16 bytes. A slice
// lies in one segment, and so has one codec on its way up and one on its way down. Pure; the same
// at every rank.
#pragma once

#include <vector>

#include "base/bytes.hpp"
#include "codecs/codec.hpp"
#include "collective/schedule.hpp"

namespace isthmus {

struct Segment {
  const codecs::Codec* up;    // inputs and partial sums
  const codecs::Codec* down;  // totals
  std::uint64_t elements;
};

// Wires that lie one behind another begin at multiples of 16 bytes.
constexpr std::uint64_t aligned_wire(std::uint64_t bytes) {
  constexpr std::uint64_t alignment = 16;
  return (bytes + alignment - 1) / alignment * alignment;
}

// Elements that travel in one frame, and their segment.
struct Slice {
  Span span;
  std::uint32_t segment;
};

class Format {
 public:
  // REQUIRES: the elements of all segments together fit 64 bits many times over.
  explicit Format(std::vector<Segment> segments);

  const std::vector<Segment>& segments() const { return segments_; }
  const Segment& segment(const Slice& slice) const { return segments_[slice.segment]; }
  std::uint64_t elements() const { return begins_.back(); }
  std::uint64_t input_bytes() const { return offsets_.back(); }
  // Of each segment's wire in an input; the last entry is where the last wire ends.
  const std::vector<std::uint64_t>& offsets() const { return offsets_; }
  std::uint64_t down_bytes() const;

  // Where shares may be cut.
  std::vector<Stretch> stretches() const;

  // `slice_elements` at a time, counted from where the span, or the segment in it, begins.
  // REQUIRES: slice_elements is a multiple of all granules.
  std::vector<Slice> cut(Span span, std::uint32_t slice_elements) const;
  // The most bytes that a slice of so many elements takes, up or down.
  std::uint64_t largest_slice_bytes(std::uint32_t slice_elements) const;

  // Where a slice lies in an input.
  int pieces(const Slice& slice, std::span<codecs::Piece, codecs::max_sections> out) const;
  // The index of the first segment whose wire in `input` is not valid, or -1.
  int malformed(ByteView input) const;

 private:
  std::vector<Segment> segments_;
  std::vector<std::uint64_t> begins_;   // first element of each segment, and the end
  std::vector<std::uint64_t> offsets_;  // of each segment's wire in an input, and the end
};

}  // namespace isthmus
