// The elements pass in runs that stay in the first-level cache while all terms and the division go
// over them: a term costs one read of its wire, not a read and a write of the sum in memory as
// well.
#include "collective/accumulate.hpp"

#include <algorithm>
#include <cmath>

namespace isthmus {
namespace {

constexpr std::size_t run_elements = 4096;

void multiply(std::span<float> values, float factor) {
  for (float& value : values) value *= factor;
}

void divide(std::span<float> values, float divisor) {
  int exponent = 0;
  const float inverse = 1.0F / divisor;
  // The inverse of a power of two is exact, and so multiplying by it rounds as the division does,
  // only faster.
  if (std::frexp(divisor, &exponent) == 0.5F && std::isfinite(inverse)) {
    multiply(values, inverse);
    return;
  }
  for (float& value : values) value /= divisor;
}

// A codec with several sections is read a whole wire at a time.
bool one_section(const codecs::Codec& codec, std::uint64_t elements) {
  std::array<codecs::Piece, codecs::max_sections> pieces;
  return run_elements % codec.block == 0 && elements > run_elements &&
         codec.pieces(elements, 0, run_elements, pieces) == 1;
}

ByteView wire_of_run(const codecs::Codec& codec, ByteView wire, std::uint64_t elements,
                     std::uint64_t begin, std::uint64_t count) {
  if (count == elements) return wire;
  std::array<codecs::Piece, codecs::max_sections> pieces;
  codec.pieces(elements, begin, count, pieces);
  return wire.subspan(pieces[0].offset, pieces[0].bytes);
}

bool add(const codecs::Codec& codec, ByteView wire, float weight, bool first,
         std::span<float> sum) {
  if (!first) return codec.decode_add(wire, weight, sum);
  const bool in_place = wire.data() == std::as_bytes(sum).data();
  if (!in_place && !codec.decode(wire, sum)) return false;
  if (weight != 1.0F) multiply(sum, weight);
  return true;
}

}  // namespace

int accumulate(const Accumulation& work, std::span<float> sum) {
  const codecs::Codec& codec = *work.codec;
  const std::size_t step = one_section(codec, sum.size()) ? run_elements : sum.size();
  for (std::size_t begin = 0; begin < sum.size(); begin += step) {
    const std::span<float> run = sum.subspan(begin, std::min(step, sum.size() - begin));
    for (std::size_t i = 0; i < work.addends.size(); ++i) {
      const Addend& addend = work.addends[i];
      const ByteView wire = wire_of_run(codec, addend.wire, sum.size(), begin, run.size());
      if (!add(codec, wire, addend.weight, work.begins && i == 0, run)) return static_cast<int>(i);
    }
    if (work.divisor != 1.0F) divide(run, work.divisor);
  }
  return all_added;
}

}  // namespace isthmus
