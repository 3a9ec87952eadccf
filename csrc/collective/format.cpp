#include "collective/format.hpp"

#include <algorithm>
#include <numeric>

namespace isthmus {

Format::Format(std::vector<Segment> segments) : segments_(std::move(segments)), begins_{0} {
  std::uint64_t end = 0;
  for (const Segment& segment : segments_) {
    begins_.push_back(begins_.back() + segment.elements);
    offsets_.push_back(aligned_wire(end));
    end = offsets_.back() + codecs::wire_size(*segment.up, segment.elements);
  }
  offsets_.push_back(end);
}

std::uint64_t Format::down_bytes() const {
  std::uint64_t bytes = 0;
  for (const Segment& segment : segments_) {
    bytes += codecs::wire_size(*segment.down, segment.elements);
  }
  return bytes;
}

std::vector<Stretch> Format::stretches() const {
  std::vector<Stretch> stretches;
  for (const Segment& segment : segments_) {
    const std::uint32_t granule =
        std::lcm(codecs::granule(*segment.up), codecs::granule(*segment.down));
    stretches.push_back({segment.elements, granule});
  }
  return stretches;
}

std::vector<Slice> Format::cut(Span span, std::uint32_t slice_elements) const {
  std::vector<Slice> slices;
  const std::uint64_t end = span.begin + span.count;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const std::uint64_t from = std::max(span.begin, begins_[i]);
    const std::uint64_t to = std::min(end, begins_[i + 1]);
    for (std::uint64_t at = from; at < to; at += slice_elements) {
      const std::uint64_t count = std::min<std::uint64_t>(slice_elements, to - at);
      slices.push_back({{at, count}, static_cast<std::uint32_t>(i)});
    }
  }
  return slices;
}

std::uint64_t Format::largest_slice_bytes(std::uint32_t slice_elements) const {
  std::uint64_t most = 0;
  for (const Segment& segment : segments_) {
    const std::uint64_t elements = std::min<std::uint64_t>(segment.elements, slice_elements);
    most = std::max({most, codecs::wire_size(*segment.up, elements),
                     codecs::wire_size(*segment.down, elements)});
  }
  return most;
}

int Format::pieces(const Slice& slice, std::span<codecs::Piece, codecs::max_sections> out) const {
  const Segment& of = segment(slice);
  const std::uint64_t begin = slice.span.begin - begins_[slice.segment];
  const int count = codecs::pieces(*of.up, of.elements, begin, slice.span.count, out);
  for (codecs::Piece& piece : out.first(static_cast<std::size_t>(count))) {
    piece.offset += offsets_[slice.segment];
  }
  return count;
}

int Format::malformed(ByteView input) const {
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const Segment& segment = segments_[i];
    const std::uint64_t bytes = codecs::wire_size(*segment.up, segment.elements);
    if (!codecs::valid(*segment.up, input.subspan(offsets_[i], bytes), segment.elements)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

}  // namespace isthmus
