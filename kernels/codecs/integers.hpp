// What int8 and int4 share: a block of 128 elements becomes integers of one scale (format.md of
// either). The scale is the block's largest magnitude over `limit`, rounded up, so nothing clips.
#pragma once

#include <algorithm>

#include "codecs/portable.hpp"

namespace isthmus::codecs::integers {

inline constexpr std::size_t block_elements = 128;
inline constexpr std::size_t scale_bytes = sizeof(Bf16);

// A block's scale, and the factor that brings its elements to integers.
struct Scale {
  Bf16 bits;
  float value;
  float inverse;
  bool plain;  // else all codes are 0
};

// limit: 127 or 7.
template <int limit>
Scale scale_of(std::uint32_t largest) {
  if (largest >= infinity_bits) return {nan_scale, value_of(nan_scale), 0, false};
  if (largest < flush_bits) return {0, 0, 0, false};
  constexpr Bf16 cap = largest_scale(limit);
  const Bf16 bits = std::min(cap, upper_bf16(std::bit_cast<float>(largest) / limit));
  const float value = value_of(bits);
  return {bits, value, 1.0F / value, true};
}

// `unit`: in [0, 1), rounds stochastically; negative: to nearest, ties to even.
template <int limit>
int code_of(float p, float inverse, float unit) {
  const float scaled = p * inverse;
  const float whole = unit < 0 ? std::nearbyint(scaled) : std::floor(scaled + unit);
  return static_cast<int>(std::clamp(whole, static_cast<float>(-limit), static_cast<float>(limit)));
}

// Codes: limit, code_bytes of a block, put(codes, i, code), get(codes, i).
template <class Codes>
struct Block {
  static constexpr std::size_t size = block_elements;

  template <class W>
  static W at(const W& wire, std::size_t block) {
    return {{wire.at[0] + block * scale_bytes, wire.at[1] + block * Codes::bytes, nullptr}};
  }

  static void encode(const float* p, std::uint32_t, const float* units, const Wire& to) {
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, magnitude(p[i]));
    const Scale scale = scale_of<Codes::limit>(largest);
    store_at(to.at[0], 0, scale.bits);
    std::fill_n(to.at[1], Codes::bytes, std::byte{});
    if (!scale.plain) return;
    for (std::size_t i = 0; i < size; ++i) {
      Codes::put(to.at[1], i, code_of<Codes::limit>(p[i], scale.inverse, units ? units[i] : -1));
    }
  }

  static void decode(const ConstWire& from, float* out) {
    const float scale = value_of(load_at<Bf16>(from.at[0], 0));
    for (std::size_t i = 0; i < size; ++i) {
      out[i] = static_cast<float>(Codes::get(from.at[1], i)) * scale;
    }
  }
};

inline bool valid(const ConstWire& from, Extent extent) {
  return valid_scales(from.at[0], extent.blocks);
}

}  // namespace isthmus::codecs::integers
