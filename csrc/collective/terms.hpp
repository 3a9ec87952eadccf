// Terms: the wires that a result is the weighted sum of, for a caller that decodes and adds by
// itself, such as one whose gradients are on a GPU. Whether a site takes the terms or their sum is
// its own affair; the bytes between the sites are the same.
#pragma once

#include "base/bytes.hpp"
#include "collective/format.hpp"

namespace isthmus {

struct Terms {
  int count;             // gather: every rank's input, by rank; else 1: what the owners' sums are
  Format format;         // of each of them, as of an input
  std::uint64_t stride;  // bytes from one to the next

  std::uint64_t bytes() const { return stride * static_cast<std::uint64_t>(count); }
};

// Of an all-reduce of inputs of this format.
Terms terms_of(Algorithm algorithm, int world, const Format& format);

// Zeros between the sections of all wires in `memory`.
void write_padding(const Terms& terms, ByteSpan memory);
// Puts a slice's wire, standing alone, into its place in a term's.
void keep_slice(const Terms& terms, int term, const Slice& slice, ByteView wire, ByteSpan memory);

// result = (sum of weights[i] * term i, in order) / divisor, each product, sum and quotient rounded
// to float32; a weight and a divisor of 1 are left out.
struct TermSum {
  std::vector<float> weights;
  float divisor = 1;
};

}  // namespace isthmus
