// Clip a vector to a norm and add Gaussian noise (format.md). Pure arithmetic: no allocation but
// where said, no globals, no threads. Promises no privacy by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codecs/codec.hpp"

namespace isthmus::dp {

// Where noise is drawn; no place may serve twice. Element i takes word i % 4 of the call with
// counter (group + i / 4, step, bucket, stream).
struct Place {
  std::uint64_t key = 0;
  std::uint32_t group = 0;
  std::uint32_t step = 0, bucket = 0, stream = 0;
};

struct Noise {
  float factor = 1;  // of every element; 0: they count as zeros, NaNs too
  float spread = 0;  // the standard deviation
  Place place;
};

inline constexpr std::size_t elements_a_call = 4;

// The sum of squares in the one order that all implementations keep. Allocates a double for
// every 1,024 elements.
double sum_of_squares(std::span<const float> x);

// What clips a vector of that sum of squares to `norm`. REQUIRES: norm > 0 and finite.
float factor(double squares, double norm);

// `out` may be `x`. REQUIRES: out.size() == x.size().
void clip_noise(std::span<const float> x, const Noise& noise, std::span<float> out,
                codecs::Isa isa = codecs::best_isa());

// Encodes what clip_noise makes of source.values, with source's feedback and dither, without
// writing it to memory. REQUIRES: as codecs::encode.
void encode_noised(const codecs::Codec& codec, const codecs::Source& source, const Noise& noise,
                   std::uint64_t elements, std::span<std::byte> wire,
                   codecs::Isa isa = codecs::best_isa());

}  // namespace isthmus::dp
