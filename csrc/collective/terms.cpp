#include "collective/terms.hpp"

#include <algorithm>

namespace isthmus {
namespace {

Format totals_of(const Format& format) {
  std::vector<Segment> segments = format.segments();
  for (Segment& segment : segments) segment.up = segment.down;
  return Format(std::move(segments));
}

}  // namespace

Terms terms_of(Algorithm algorithm, int world, const Format& format) {
  const bool gathered = algorithm == Algorithm::gather;
  Terms terms{gathered ? world : 1, gathered ? format : totals_of(format), 0};
  terms.stride = aligned_wire(terms.format.input_bytes());
  return terms;
}

void write_padding(const Terms& terms, ByteSpan memory) {
  for (std::uint64_t at = 0; at < terms.bytes(); at += terms.stride) {
    for (std::size_t i = 0; i < terms.format.segments().size(); ++i) {
      const Segment& segment = terms.format.segments()[i];
      const std::uint64_t bytes = codecs::wire_size(*segment.up, segment.elements);
      codecs::write_padding(*segment.up, memory.subspan(at + terms.format.offsets()[i], bytes),
                            segment.elements);
    }
  }
}

void keep_slice(const Terms& terms, int term, const Slice& slice, ByteView wire, ByteSpan memory) {
  std::array<codecs::Piece, codecs::max_sections> pieces;
  const int count = terms.format.pieces(slice, pieces);
  const ByteSpan to = memory.subspan(terms.stride * static_cast<std::uint64_t>(term));
  for (const codecs::Piece& piece : std::span(pieces).first(static_cast<std::size_t>(count))) {
    std::ranges::copy(wire.first(piece.bytes), to.subspan(piece.offset).begin());
    wire = wire.subspan(piece.bytes);
  }
}

}  // namespace isthmus
