// Scales that are a mean over a block (int2, sign, top-k's int2): summed as integers, so that the
// order of summing does not matter.
#pragma once

#include <algorithm>

#include "codecs/scale.hpp"

namespace isthmus::codecs {

// How a block's elements become integers: |p| * factor, rounded to nearest, has at most `bits` bits
// (or is 2^bits). `back` undoes the factor.
struct FixedPoint {
  float factor;
  float back;
};

// REQUIRES: flush_bits <= largest < infinity_bits.
inline FixedPoint fixed_point(std::uint32_t largest, int bits) {
  const int shift = bits - 1 - exponent(largest);
  return {power_of_two(shift), power_of_two(-shift)};
}

inline std::uint32_t fixed(float p, float factor) {
  return static_cast<std::uint32_t>(std::nearbyint(std::fabs(p) * factor));
}

inline constexpr int square_bits = 12;  // 128 squares fit 32 bits
inline constexpr int mean_bits = 23;    // 128 numbers fit 32 bits

inline Bf16 root_mean_square(std::uint32_t sum_of_squares, std::uint32_t count, float back) {
  const float mean = static_cast<float>(sum_of_squares) / static_cast<float>(count);
  return nearest_bf16(std::sqrt(mean) * back);
}

inline Bf16 mean_magnitude(std::uint32_t sum, std::uint32_t count, float back) {
  return nearest_bf16(static_cast<float>(sum) / static_cast<float>(count) * back);
}

// The Lloyd-Max quantizer of a Gaussian in two bits: bit 0 of a code says large, bit 1 negative.
namespace two_bits {

inline constexpr float small_level = 0.4528F;
inline constexpr float large_level = 1.510F;
inline constexpr float threshold = 0.9816F;
inline constexpr Bf16 cap = largest_scale(static_cast<double>(large_level));

// Of `count` elements (at most 128) whose largest magnitude is given; `filled` of them count.
inline Bf16 scale_of(const float* p, std::uint32_t count, std::uint32_t filled,
                     std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, square_bits);
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t n = fixed(p[i], point.factor);
    sum += n * n;
  }
  return std::min(cap, root_mean_square(sum, filled, point.back));
}

// Codes of a block without a scale are 0.
inline bool has_codes(Bf16 scale) {
  return scale != 0 && scale != nan_scale;
}

inline int code_of(float p, float limit) {
  const int large = std::fabs(p) > limit ? 1 : 0;
  return large | (std::signbit(p) ? 2 : 0);
}

inline float value_of(int code, float scale) {
  const float level = (code & 1) != 0 ? large_level : small_level;
  const float value = level * scale;
  return (code & 2) != 0 ? -value : value;
}

}  // namespace two_bits
}  // namespace isthmus::codecs
