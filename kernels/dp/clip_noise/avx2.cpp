// Clip and noise with AVX2: 8 calls of Philox at once, 32 elements.
#if defined(__x86_64__)

#include "dp/clip_noise/box_muller.hpp"
#include "rng/philox_avx2.hpp"

namespace isthmus::dp {
namespace {

template <std::size_t N>
[[ISTHMUS_AVX2_INLINE]] inline __m256 wide_horner(const float (&terms)[N], __m256 x) {
  __m256 found = _mm256_set1_ps(terms[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;)
    found = _mm256_add_ps(_mm256_mul_ps(found, x), _mm256_set1_ps(terms[i]));
  return found;
}

[[ISTHMUS_AVX2_INLINE]] inline __m256 wide_radius(__m256i word) {
  const __m256 whole = _mm256_cvtepi32_ps(_mm256_srli_epi32(word, 9));
  const __m256 u =
      _mm256_mul_ps(_mm256_add_ps(whole, _mm256_set1_ps(0.5F)), _mm256_set1_ps(0x1p-23F));
  const __m256i bits = _mm256_castps_si256(u);
  const __m256i exponent =
      _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(root_half_bits)), 23);
  const __m256i mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32(exponent, 23));
  const __m256 f = _mm256_sub_ps(_mm256_castsi256_ps(mantissa), _mm256_set1_ps(1));
  const __m256 tail = _mm256_mul_ps(_mm256_mul_ps(f, f), wide_horner(log_terms, f));
  const __m256 log = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(exponent), _mm256_set1_ps(ln2)),
                                   _mm256_add_ps(f, tail));
  return _mm256_sqrt_ps(_mm256_mul_ps(_mm256_set1_ps(-2), log));
}

// The two normals of 8 pairs of words.
[[ISTHMUS_AVX2_INLINE]] inline void wide_pair(__m256i a, __m256i b, __m256& first, __m256& second) {
  const __m256 r = wide_radius(a);
  const __m256i turns = _mm256_srli_epi32(_mm256_slli_epi32(b, 2), 9);
  const __m256 turn = _mm256_sub_ps(
      _mm256_mul_ps(_mm256_cvtepi32_ps(turns), _mm256_set1_ps(0x1p-23F)), _mm256_set1_ps(0.5F));
  const __m256 z = _mm256_mul_ps(turn, turn);
  const __m256 sine = _mm256_mul_ps(turn, wide_horner(sin_terms, z));
  const __m256 cosine = wide_horner(cos_terms, z);
  // Bit 30 of b: an odd quarter. The first is negative in quarters 1 and 2, the second in 2 and 3.
  const __m256i shifted = _mm256_slli_epi32(b, 1);
  const __m256 odd = _mm256_castsi256_ps(shifted);
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000U));
  const __m256i second_sign = _mm256_and_si256(b, sign);
  const __m256i first_sign = _mm256_and_si256(_mm256_xor_si256(b, shifted), sign);
  const __m256 one = _mm256_blendv_ps(cosine, sine, odd);
  const __m256 other = _mm256_blendv_ps(sine, cosine, odd);
  first = _mm256_mul_ps(_mm256_xor_ps(one, _mm256_castsi256_ps(first_sign)), r);
  second = _mm256_mul_ps(_mm256_xor_ps(other, _mm256_castsi256_ps(second_sign)), r);
}

struct WideNormals {
  __m256 part[4];
};

// The normals of 32 elements in their order: calls (group, …) to (group + 7, …).
[[ISTHMUS_AVX2_INLINE]] inline WideNormals normals(const Place& at, std::uint32_t group) {
  // Lane 4 l + k makes call 2 k + l, so that transposing in 128-bit lanes puts calls in order.
  const __m256i calls = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const __m256i first = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(group)), calls);
  const rng::WideWords w = rng::wide_philox(first, at.step, at.bucket, at.stream, at.key);
  __m256 n0, n1, n2, n3;
  wide_pair(w.word[0], w.word[1], n0, n1);
  wide_pair(w.word[2], w.word[3], n2, n3);
  const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(n0, n1));
  const __m256d b = _mm256_castps_pd(_mm256_unpacklo_ps(n2, n3));
  const __m256d c = _mm256_castps_pd(_mm256_unpackhi_ps(n0, n1));
  const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(n2, n3));
  return {{_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)),
           _mm256_castpd_ps(_mm256_unpacklo_pd(c, d)), _mm256_castpd_ps(_mm256_unpackhi_pd(c, d))}};
}

[[ISTHMUS_AVX2]] void whole_runs(const float* x, std::size_t runs, const Noise& noise, float* out) {
  const __m256 factor = _mm256_set1_ps(noise.factor), spread = _mm256_set1_ps(noise.spread);
  const __m256 kept = _mm256_castsi256_ps(_mm256_set1_epi32(noise.factor == 0 ? 0 : -1));
  for (std::size_t run = 0; run < runs; ++run) {
    const auto group = noise.place.group + static_cast<std::uint32_t>(8 * run);
    const WideNormals g = normals(noise.place, group);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t at = 32 * run + 8 * i;
      const __m256 clipped = _mm256_and_ps(_mm256_mul_ps(_mm256_loadu_ps(x + at), factor), kept);
      _mm256_storeu_ps(out + at, _mm256_add_ps(clipped, _mm256_mul_ps(spread, g.part[i])));
    }
  }
}

}  // namespace

void clip_noise_avx2(const float* x, std::size_t elements, const Noise& noise, float* out) {
  const std::size_t runs = elements / 32;
  whole_runs(x, runs, noise, out);
  Noise rest = noise;
  rest.place.group += static_cast<std::uint32_t>(8 * runs);
  clip_noise_portable(x + 32 * runs, elements - 32 * runs, rest, out + 32 * runs);
}

}  // namespace isthmus::dp

#endif
