// What the codecs with a scale share: bfloat16, magnitudes, powers of two, residuals. Each
// operation is one IEEE float32 operation or integer arithmetic, so that every device gets the same
// bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "codecs/codec.hpp"

namespace isthmus::codecs {

using Bf16 = std::uint16_t;

inline constexpr std::uint32_t magnitude_mask = 0x7fffffffU;
inline constexpr std::uint32_t infinity_bits = 0x7f800000U;
inline constexpr Bf16 nan_scale = 0x7fc0;

// A block whose largest magnitude is below it counts as zeros: no scale, and no inverse of one,
// then comes near a denormal or an infinity.
inline constexpr std::uint32_t flush_bits = std::bit_cast<std::uint32_t>(0x1p-100F);

inline std::uint32_t magnitude(float x) {
  return std::bit_cast<std::uint32_t>(x) & magnitude_mask;
}

inline float value_of(Bf16 bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; a NaN keeps its sign and upper payload and becomes quiet, never
// an infinity.
inline Bf16 nearest_bf16(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (word + 0x7fffU + ((word >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (word >> 16) | 0x40U;
  const bool nan = (word & magnitude_mask) > infinity_bits;
  return static_cast<Bf16>(nan ? quiet : rounded);
}

// Rounded away from zero. REQUIRES: finite, not negative.
inline Bf16 upper_bf16(float value) {
  return static_cast<Bf16>((std::bit_cast<std::uint32_t>(value) + 0xffffU) >> 16);
}

// The largest bfloat16 that times `factor` is finite.
constexpr Bf16 largest_scale(double factor) {
  constexpr double most = 3.4028234663852886e38;
  Bf16 bits = 0x7f7f;
  while (static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16)) *
             factor >
         most) {
    --bits;
  }
  return bits;
}

// The exponent of the leading bit. REQUIRES: a magnitude of a finite, normal number.
inline int exponent(std::uint32_t magnitude) {
  return static_cast<int>(magnitude >> 23) - 127;
}

// 2^n. REQUIRES: -126 <= n <= 127.
inline float power_of_two(int n) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

// Wires and residuals need not be aligned.
template <class T>
T load_at(const std::byte* memory, std::size_t index) {
  T value;
  std::memcpy(&value, memory + index * sizeof value, sizeof value);
  return value;
}
template <class T>
void store_at(std::byte* memory, std::size_t index, T value) {
  std::memcpy(memory + index * sizeof value, &value, sizeof value);
}

// A scale is zero, positive and finite, or the one NaN.
inline bool valid_scales(const std::byte* scales, std::size_t blocks) {
  bool valid = true;
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto bits = load_at<Bf16>(scales, i);
    valid = valid && (bits < 0x7f80 || bits == nan_scale);
  }
  return valid;
}

}  // namespace isthmus::codecs
