// Philox for eight counters at once, with AVX2. For the sources of kernels only.
#pragma once

#if defined(__x86_64__)

#include "codecs/blocks_avx2.hpp"
#include "rng/philox.hpp"

namespace isthmus::rng {
namespace {

struct WideWords {
  __m256i word[4];
};

// The high and the low half of each product.
[[ISTHMUS_AVX2_INLINE]] inline void multiply(__m256i x, std::uint32_t factor, __m256i& high,
                                             __m256i& low) {
  const __m256i f = _mm256_set1_epi32(static_cast<int>(factor));
  const __m256i even = _mm256_mul_epu32(x, f);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), f);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

[[ISTHMUS_AVX2_INLINE]] inline __m256i three_xor(__m256i a, __m256i b, std::uint32_t c) {
  return _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_set1_epi32(static_cast<int>(c)));
}

[[ISTHMUS_AVX2_INLINE]] inline WideWords wide_philox(__m256i first, std::uint32_t second,
                                                     std::uint32_t third, std::uint32_t fourth,
                                                     std::uint64_t key) {
  WideWords c{{first, _mm256_set1_epi32(static_cast<int>(second)),
               _mm256_set1_epi32(static_cast<int>(third)),
               _mm256_set1_epi32(static_cast<int>(fourth))}};
  auto low = static_cast<std::uint32_t>(key);
  auto high = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < philox_rounds; ++round) {
    __m256i a_high, a_low, b_high, b_low;
    multiply(c.word[0], philox_multipliers[0], a_high, a_low);
    multiply(c.word[2], philox_multipliers[1], b_high, b_low);
    c = {{three_xor(b_high, c.word[1], low), b_low, three_xor(a_high, c.word[3], high), a_low}};
    low += philox_weyl[0];
    high += philox_weyl[1];
  }
  return c;
}

// The 64 half words of 8 calls with counters (group, …) to (group + 7, …), in the order in which
// elements take them, 16 a register.
[[ISTHMUS_AVX2_INLINE]] inline WideWords halves(const codecs::Dither& dither, std::uint32_t group) {
  // Lane 4 l + k makes call 2 k + l, so that transposing in 128-bit lanes puts calls in order.
  const __m256i calls = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const __m256i first = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(group)), calls);
  const WideWords w = wide_philox(first, dither.step, dither.bucket, dither.stream, dither.key);
  const __m256i a = _mm256_unpacklo_epi32(w.word[0], w.word[1]);
  const __m256i b = _mm256_unpacklo_epi32(w.word[2], w.word[3]);
  const __m256i c = _mm256_unpackhi_epi32(w.word[0], w.word[1]);
  const __m256i d = _mm256_unpackhi_epi32(w.word[2], w.word[3]);
  return {{_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b), _mm256_unpacklo_epi64(c, d),
           _mm256_unpackhi_epi64(c, d)}};
}

}  // namespace
}  // namespace isthmus::rng

#endif
