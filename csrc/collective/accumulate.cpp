// The elements pass in runs that stay in the first-level cache while all terms and the division go
// over them: a term costs one read of its wire, not a read and a write of the sum in memory as
// well.
#include "collective/accumulate.hpp"

#include <algorithm>
#include <cmath>

namespace isthmus {
namespace {

constexpr std::size_t run_elements = codecs::max_block;

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

void add(const Addend& addend, const codecs::Codec& codec, std::size_t elements, std::size_t begin,
         bool first, std::span<float> run) {
  if (!first) {
    return codecs::decode_add_part(codec, addend.wire, elements, begin, addend.weight, run);
  }
  codecs::decode_part(codec, addend.wire, elements, begin, run);
  if (addend.weight != 1.0F) multiply(run, addend.weight);
}

}  // namespace

void accumulate(const Accumulation& work, std::span<float> sum) {
  const std::size_t elements = sum.size();
  if (work.encode_with != nullptr) codecs::write_padding(*work.encode_with, work.wire, elements);
  for (std::size_t begin = 0; begin < elements; begin += run_elements) {
    const std::span<float> run = sum.subspan(begin, std::min(run_elements, elements - begin));
    for (std::size_t i = 0; i < work.addends.size(); ++i) {
      add(work.addends[i], *work.codec, elements, begin, work.begins && i == 0, run);
    }
    if (work.divisor != 1.0F) divide(run, work.divisor);
    if (work.encode_with == nullptr) continue;
    codecs::encode_part(*work.encode_with, {.values = run.data()}, work.wire, elements, begin,
                        run.size());
    if (work.as_decoded) codecs::decode_part(*work.encode_with, work.wire, elements, begin, run);
  }
}

}  // namespace isthmus
