// Blocks with AVX2: what is encoded comes in, residuals go out. For the sources of kernels/codecs
// only; everything has internal linkage.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/modes.hpp"
#include "codecs/scale.hpp"

// The target is set on each function, never for a file: inline functions of headers compiled for
// AVX2 would otherwise be the ones that the whole program links.
#define ISTHMUS_AVX2 gnu::target("avx2")
#define ISTHMUS_AVX2_INLINE ISTHMUS_AVX2, gnu::always_inline

namespace isthmus::codecs::avx2 {
namespace {

inline constexpr std::size_t lanes = 8;

[[ISTHMUS_AVX2_INLINE]] inline __m256 widened(const std::byte* bf16) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bf16));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// nearest_bf16 of eight elements.
[[ISTHMUS_AVX2_INLINE]] inline __m128i narrowed(__m256 values) {
  const __m256i words = _mm256_castps_si256(values);
  const __m256i upper = _mm256_srli_epi32(words, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(words, bias), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i bits = _mm256_blendv_epi8(rounded, quiet, nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}

// Brings `elements` (a multiple of eight) of what is encoded, values and beta times residuals, to
// `p`; returns the largest magnitude.
template <class Mode>
[[ISTHMUS_AVX2_INLINE]] inline std::uint32_t load(const Streams& from, std::size_t begin,
                                                  std::size_t elements, float* p) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(magnitude_mask));
  __m256i most = _mm256_setzero_si256();
  for (std::size_t i = 0; i < elements; i += lanes) {
    __m256 value = _mm256_loadu_ps(from.values + begin + i);
    if constexpr (Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::bf16) {
      const bool wide = Mode::feedback == FeedbackMode::f32;
      const std::byte* now = from.now + (begin + i) * (wide ? 4 : 2);
      const __m256 residual =
          wide ? _mm256_loadu_ps(reinterpret_cast<const float*>(now)) : widened(now);
      value = _mm256_add_ps(value, _mm256_mul_ps(_mm256_set1_ps(from.beta), residual));
    }
    _mm256_storeu_ps(p + i, value);
    most = _mm256_max_epu32(most, _mm256_and_si256(_mm256_castps_si256(value), mask));
  }
  const __m128i half =
      _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  const __m128i quarter = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4e));
  const __m128i one = _mm_max_epu32(quarter, _mm_shuffle_epi32(quarter, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(one));
}

// The next residuals of eight elements.
template <class Mode>
[[ISTHMUS_AVX2_INLINE]] inline void keep(const Streams& from, std::size_t at, __m256 left) {
  if constexpr (Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::first_f32) {
    _mm256_storeu_ps(reinterpret_cast<float*>(from.next + 4 * at), left);
  } else if constexpr (Mode::feedback != FeedbackMode::none) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(from.next + 2 * at), narrowed(left));
  }
}

// fixed() of eight elements (codecs/moments.hpp).
[[ISTHMUS_AVX2_INLINE]] inline __m256i fixed(__m256 p, __m256 factor) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), p);
  return _mm256_cvtps_epi32(_mm256_round_ps(_mm256_mul_ps(magnitude, factor),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// Of unsigned lanes whose sum fits 32 bits.
[[ISTHMUS_AVX2_INLINE]] inline std::uint32_t sum_of_lanes(__m256i sum) {
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  const __m128i quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  const __m128i one = _mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(one));
}

}  // namespace
}  // namespace isthmus::codecs::avx2

#endif
