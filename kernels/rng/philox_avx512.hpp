// Philox for 16 counters at once, with AVX-512. For the sources of kernels only.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/blocks_avx512.hpp"
#include "rng/philox.hpp"

namespace isthmus::rng {
namespace {  // never the function that the rest of the program links

struct WideWords {
  __m512i word[4];
};

// The high and the low half of each product.
[[ISTHMUS_AVX512_INLINE]] inline void multiply(__m512i x, std::uint32_t factor, __m512i& high,
                                               __m512i& low) {
  const __m512i f = _mm512_set1_epi32(static_cast<int>(factor));
  const __m512i even = _mm512_mul_epu32(x, f);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
  high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

[[ISTHMUS_AVX512_INLINE]] inline WideWords wide_philox(__m512i first, std::uint32_t second,
                                                       std::uint32_t third, std::uint32_t fourth,
                                                       std::uint64_t key) {
  WideWords c{{first, _mm512_set1_epi32(static_cast<int>(second)),
               _mm512_set1_epi32(static_cast<int>(third)),
               _mm512_set1_epi32(static_cast<int>(fourth))}};
  auto low = static_cast<std::uint32_t>(key);
  auto high = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < philox_rounds; ++round) {
    __m512i a_high, a_low, b_high, b_low;
    multiply(c.word[0], philox_multipliers[0], a_high, a_low);
    multiply(c.word[2], philox_multipliers[1], b_high, b_low);
    constexpr int exclusive_or = 0x96;
    c = {{_mm512_ternarylogic_epi32(b_high, c.word[1], _mm512_set1_epi32(static_cast<int>(low)),
                                    exclusive_or),
          b_low,
          _mm512_ternarylogic_epi32(a_high, c.word[3], _mm512_set1_epi32(static_cast<int>(high)),
                                    exclusive_or),
          a_low}};
    low += philox_weyl[0];
    high += philox_weyl[1];
  }
  return c;
}

// The 128 half words of 16 calls with counters (group, …) to (group + 15, …), in the order in which
// elements take them, 32 a register.
[[ISTHMUS_AVX512_INLINE]] inline WideWords halves(const codecs::Dither& dither,
                                                  std::uint32_t group) {
  // Lane 4 l + k makes call 4 k + l, so that transposing in 128-bit lanes puts calls in order.
  const __m512i calls = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i first = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(group)), calls);
  const WideWords w = wide_philox(first, dither.step, dither.bucket, dither.stream, dither.key);
  const __m512i a = _mm512_unpacklo_epi32(w.word[0], w.word[1]);
  const __m512i b = _mm512_unpacklo_epi32(w.word[2], w.word[3]);
  const __m512i c = _mm512_unpackhi_epi32(w.word[0], w.word[1]);
  const __m512i d = _mm512_unpackhi_epi32(w.word[2], w.word[3]);
  return {{_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b), _mm512_unpacklo_epi64(c, d),
           _mm512_unpackhi_epi64(c, d)}};
}

}  // namespace
}  // namespace isthmus::rng

#endif
