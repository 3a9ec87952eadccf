// What the implementations of clip and noise share: coefficients, and the plain form.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "dp/clip_noise/clip_noise.hpp"
#include "rng/philox.hpp"

namespace isthmus::dp {

inline constexpr std::size_t square_block = 1024;
inline constexpr float ln2 = 0x1.62e43p-1F;
inline constexpr float log_terms[] = {
    -0.49999988079071045F, 0.33333656191825867F, -0.2500211000442505F,  0.19973693788051605F,
    -0.1656429022550583F,  0.14789512753486633F, -0.14324887096881866F, 0.09132901579141617F};
inline constexpr float sin_terms[] = {1.5707963705062866F, -0.6459634900093079F,
                                      0.07968021929264069F, -0.004602163098752499F};
inline constexpr float cos_terms[] = {1.0F, -1.2337005138397217F, 0.25366920232772827F,
                                      -0.02086007036268711F, 0.00090362987248227F};
inline constexpr std::int32_t root_half_bits = 0x3F3504F3;

namespace {  // compiled for each source's own instruction set

template <std::size_t N>
float horner(const float (&terms)[N], float x) {
  float found = terms[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) found = found * x + terms[i];
  return found;
}

float radius(std::uint32_t word) {
  const float u = (static_cast<float>(word >> 9) + 0.5F) * 0x1p-23F;
  const auto bits = std::bit_cast<std::int32_t>(u);
  const std::int32_t exponent = (bits - root_half_bits) >> 23;
  const float f = std::bit_cast<float>(bits - (exponent << 23)) - 1;
  const float log = static_cast<float>(exponent) * ln2 + (f + (f * f) * horner(log_terms, f));
  return std::sqrt(-2 * log);
}

// Box and Muller's two normals of a pair of words.
void pair(std::uint32_t a, std::uint32_t b, float* out) {
  const float r = radius(a);
  const float turn = static_cast<float>((b << 2) >> 9) * 0x1p-23F - 0.5F;
  const float z = turn * turn;
  const float sine = turn * horner(sin_terms, z), cosine = horner(cos_terms, z);
  const std::uint32_t quarter = b >> 30;
  float first = (quarter & 1) != 0 ? sine : cosine;
  float second = (quarter & 1) != 0 ? cosine : sine;
  if (quarter == 1 || quarter == 2) first = -first;
  if (quarter >= 2) second = -second;
  out[0] = first * r;
  out[1] = second * r;
}

void clip_noise_portable(const float* x, std::size_t elements, const Noise& noise, float* out) {
  const Place& at = noise.place;
  for (std::size_t begin = 0; begin < elements; begin += elements_a_call) {
    const auto group = at.group + static_cast<std::uint32_t>(begin / elements_a_call);
    const rng::Words words = rng::philox({group, at.step, at.bucket, at.stream}, at.key);
    float normals[elements_a_call];
    pair(words[0], words[1], normals);
    pair(words[2], words[3], normals + 2);
    for (std::size_t i = 0; i < elements_a_call && begin + i < elements; ++i) {
      const float clipped = noise.factor == 0 ? 0 : x[begin + i] * noise.factor;
      out[begin + i] = clipped + noise.spread * normals[i];
    }
  }
}

}  // namespace

// Called only where the processor has them.
void clip_noise_avx2(const float* x, std::size_t elements, const Noise& noise, float* out);
void clip_noise_avx512(const float* x, std::size_t elements, const Noise& noise, float* out);

}  // namespace isthmus::dp
