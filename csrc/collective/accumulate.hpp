// accumulate: weighted sums of wires, the one place where terms of different ranks meet.
//
// Every product, sum and quotient is rounded to float32, in the order given, so that all ranks get
// the same bits. Pure arithmetic over codecs: knows no peers and allocates nothing.
#pragma once

#include <span>

#include "base/bytes.hpp"
#include "codecs/codec.hpp"

namespace isthmus {

struct Addend {
  ByteView wire;  // valid, of sum.size() elements; may be the sum's own memory if it comes first
                  // and its codec is the identity
  float weight;
};

struct Accumulation {
  const codecs::Codec* codec;
  std::span<const Addend> addends;
  bool begins;    // the first addend is written, not added to zero: a sum of -0.0 is -0.0
  float divisor;  // the sum is divided by it at the end; 1: it is not

  // The sum's own wire, made in the same pass; null: none.
  const codecs::Codec* encode_with = nullptr;
  ByteSpan wire{};
  bool as_decoded = false;  // the sum becomes what that wire decodes to
};

void accumulate(const Accumulation& work, std::span<float> sum);

}  // namespace isthmus
