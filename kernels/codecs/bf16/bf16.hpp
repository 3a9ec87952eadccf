// bf16: one element's arithmetic and the faster implementations. For the sources of this folder
// only.
#pragma once

#include <bit>
#include <cstring>

#include "codecs/codec.hpp"

namespace isthmus::codecs::bfloat16 {

using Bits = std::uint16_t;

// Round to nearest, ties to even; a NaN keeps its sign and upper payload and becomes quiet, never
// an infinity.
inline Bits bits_of(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (word + 0x7fffU + ((word >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (word >> 16) | 0x40U;
  const bool nan = (word & 0x7fffffffU) > 0x7f800000U;
  return static_cast<Bits>(nan ? quiet : rounded);
}

inline float value_of(Bits bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// A wire need not be aligned.
inline Bits load(const std::byte* wire, std::size_t element) {
  Bits bits;
  std::memcpy(&bits, wire + element * sizeof bits, sizeof bits);
  return bits;
}

inline void store(std::byte* wire, std::size_t element, Bits bits) {
  std::memcpy(wire + element * sizeof bits, &bits, sizeof bits);
}

#if defined(__x86_64__)
void encode_avx2(const Source& from, Extent extent, const Wire& to);
void decode_avx2(const ConstWire& from, std::size_t blocks, float* out);
void decode_add_avx2(const ConstWire& from, std::size_t blocks, float weight, float* sum);
#endif

}  // namespace isthmus::codecs::bfloat16
