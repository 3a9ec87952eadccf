// Clip and noise with AVX-512: 16 calls of Philox at once, 64 elements.

#include "dp/clip_noise/box_muller.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/blocks_avx512.hpp"
#include "rng/philox_avx512.hpp"

namespace isthmus::dp {
namespace {

template <std::size_t N>
[[ISTHMUS_AVX512_INLINE]] inline __m512 wide_horner(const float (&terms)[N], __m512 x) {
  __m512 found = _mm512_set1_ps(terms[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;)
    found = _mm512_add_ps(_mm512_mul_ps(found, x), _mm512_set1_ps(terms[i]));
  return found;
}

[[ISTHMUS_AVX512_INLINE]] inline __m512 wide_radius(__m512i word) {
  const __m512 whole = _mm512_cvtepi32_ps(_mm512_srli_epi32(word, 9));
  const __m512 u =
      _mm512_mul_ps(_mm512_add_ps(whole, _mm512_set1_ps(0.5F)), _mm512_set1_ps(0x1p-23F));
  const __m512i bits = _mm512_castps_si512(u);
  const __m512i exponent =
      _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(root_half_bits)), 23);
  const __m512i mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32(exponent, 23));
  const __m512 f = _mm512_sub_ps(_mm512_castsi512_ps(mantissa), _mm512_set1_ps(1));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(f, f), wide_horner(log_terms, f));
  const __m512 log = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(exponent), _mm512_set1_ps(ln2)),
                                   _mm512_add_ps(f, tail));
  return _mm512_sqrt_ps(_mm512_mul_ps(_mm512_set1_ps(-2), log));
}

// The two normals of 16 pairs of words.
[[ISTHMUS_AVX512_INLINE]] inline void wide_pair(__m512i a, __m512i b, __m512& first,
                                                __m512& second) {
  const __m512 r = wide_radius(a);
  const __m512i turns = _mm512_srli_epi32(_mm512_slli_epi32(b, 2), 9);
  const __m512 turn = _mm512_sub_ps(
      _mm512_mul_ps(_mm512_cvtepi32_ps(turns), _mm512_set1_ps(0x1p-23F)), _mm512_set1_ps(0.5F));
  const __m512 z = _mm512_mul_ps(turn, turn);
  const __m512 sine = _mm512_mul_ps(turn, wide_horner(sin_terms, z));
  const __m512 cosine = wide_horner(cos_terms, z);
  // Bit 30 of b: an odd quarter. The first is negative in quarters 1 and 2, the second in 2 and 3.
  const __mmask16 odd = _mm512_test_epi32_mask(b, _mm512_set1_epi32(1 << 30));
  const __m512i sign = _mm512_set1_epi32(static_cast<int>(0x80000000U));
  const __m512i second_sign = _mm512_and_si512(b, sign);
  const __m512i first_sign = _mm512_and_si512(_mm512_xor_si512(b, _mm512_slli_epi32(b, 1)), sign);
  const __m512 one = _mm512_mask_blend_ps(odd, cosine, sine);
  const __m512 other = _mm512_mask_blend_ps(odd, sine, cosine);
  first = _mm512_mul_ps(_mm512_xor_ps(one, _mm512_castsi512_ps(first_sign)), r);
  second = _mm512_mul_ps(_mm512_xor_ps(other, _mm512_castsi512_ps(second_sign)), r);
}

struct WideNormals {
  __m512 part[4];
};

// The normals of 64 elements in their order: calls (group, …) to (group + 15, …).
[[ISTHMUS_AVX512_INLINE]] inline WideNormals normals(const Place& at, std::uint32_t group) {
  // Lane 4 l + k makes call 4 k + l, so that transposing in 128-bit lanes puts calls in order.
  const __m512i calls = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i first = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(group)), calls);
  const rng::WideWords w = rng::wide_philox(first, at.step, at.bucket, at.stream, at.key);
  __m512 n0, n1, n2, n3;
  wide_pair(w.word[0], w.word[1], n0, n1);
  wide_pair(w.word[2], w.word[3], n2, n3);
  const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(n0, n1));
  const __m512d b = _mm512_castps_pd(_mm512_unpacklo_ps(n2, n3));
  const __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(n0, n1));
  const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(n2, n3));
  return {{_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
           _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, d))}};
}

[[ISTHMUS_AVX512]] void whole_runs(const float* x, std::size_t runs, const Noise& noise,
                                   float* out) {
  const __m512 factor = _mm512_set1_ps(noise.factor), spread = _mm512_set1_ps(noise.spread);
  const __mmask16 kept = noise.factor == 0 ? 0 : 0xffff;
  for (std::size_t run = 0; run < runs; ++run) {
    const auto group = noise.place.group + static_cast<std::uint32_t>(16 * run);
    const WideNormals g = normals(noise.place, group);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t at = 64 * run + 16 * i;
      const __m512 clipped = _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(x + at), factor);
      _mm512_storeu_ps(out + at, _mm512_add_ps(clipped, _mm512_mul_ps(spread, g.part[i])));
    }
  }
}

}  // namespace

void clip_noise_avx512(const float* x, std::size_t elements, const Noise& noise, float* out) {
  const std::size_t runs = elements / 64;
  whole_runs(x, runs, noise, out);
  Noise rest = noise;
  rest.place.group += static_cast<std::uint32_t>(16 * runs);
  clip_noise_portable(x + 64 * runs, elements - 64 * runs, rest, out + 64 * runs);
}

}  // namespace isthmus::dp

#endif
