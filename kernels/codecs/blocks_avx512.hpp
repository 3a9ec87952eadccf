// A block of 128 elements in eight AVX-512 registers: what is encoded comes in, residuals go out.
// For the sources of kernels/codecs only; everything has internal linkage.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/modes.hpp"
#include "codecs/scale.hpp"

// The target is set on each function, never for a file: inline functions of headers compiled for
// AVX-512 would otherwise be the ones that the whole program links.
#define ISTHMUS_AVX512 gnu::target("avx512f,avx512bw,avx512dq,avx512vl,bmi2")
#define ISTHMUS_AVX512_INLINE ISTHMUS_AVX512, gnu::always_inline

namespace isthmus::codecs::avx512 {
namespace {

struct Block {
  __m512 part[8];
};

[[ISTHMUS_AVX512_INLINE]] inline __m512 widened(const std::byte* bf16) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bf16));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// nearest_bf16 of sixteen elements.
[[ISTHMUS_AVX512_INLINE]] inline __m256i narrowed(__m512 values) {
  const __m512i words = _mm512_castps_si512(values);
  const __m512i upper = _mm512_srli_epi32(words, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(words, bias), 16);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet));
}

// What is encoded: the values, and beta times the residuals.
template <class Mode>
[[ISTHMUS_AVX512_INLINE]] inline Block load(const Source& from, std::size_t begin) {
  Block p;
  for (int i = 0; i < 8; ++i) {
    const std::size_t at = begin + static_cast<std::size_t>(16 * i);
    p.part[i] = _mm512_loadu_ps(from.values + at);
    if constexpr (Mode::feedback == FeedbackMode::f32) {
      const __m512 now = _mm512_loadu_ps(from.feedback->now + 4 * at);
      p.part[i] =
          _mm512_add_ps(p.part[i], _mm512_mul_ps(_mm512_set1_ps(from.feedback->beta), now));
    } else if constexpr (Mode::feedback == FeedbackMode::bf16) {
      const __m512 now = widened(from.feedback->now + 2 * at);
      p.part[i] =
          _mm512_add_ps(p.part[i], _mm512_mul_ps(_mm512_set1_ps(from.feedback->beta), now));
    }
  }
  return p;
}

// The next residuals.
template <class Mode>
[[ISTHMUS_AVX512_INLINE]] inline void keep(const Source& from, std::size_t begin, const Block& left) {
  for (int i = 0; i < 8; ++i) {
    const std::size_t at = begin + static_cast<std::size_t>(16 * i);
    if constexpr (Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::first_f32) {
      _mm512_storeu_ps(from.feedback->next + 4 * at, left.part[i]);
    } else if constexpr (Mode::feedback != FeedbackMode::none) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(from.feedback->next + 2 * at),
                          narrowed(left.part[i]));
    }
  }
}

// The largest magnitude.
[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t largest(const Block& p) {
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(magnitude_mask));
  __m512i most = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    most = _mm512_max_epu32(most, _mm512_and_si512(_mm512_castps_si512(p.part[i]), mask));
  }
  return _mm512_reduce_max_epu32(most);
}

// The sum of fixed() of all elements, and of their squares (codecs/moments.hpp).
[[ISTHMUS_AVX512_INLINE]] inline __m512i fixed(__m512 p, __m512 factor) {
  return _mm512_cvt_roundps_epi32(_mm512_mul_ps(_mm512_abs_ps(p), factor),
                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t sum_fixed(const Block& p, float factor) {
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    sum = _mm512_add_epi32(sum, fixed(p.part[i], _mm512_set1_ps(factor)));
  }
  return static_cast<std::uint32_t>(_mm512_reduce_add_epi32(sum));
}

[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t sum_of_squares(const Block& p, float factor) {
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    const __m512i n = fixed(p.part[i], _mm512_set1_ps(factor));
    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(n, n));
  }
  return static_cast<std::uint32_t>(_mm512_reduce_add_epi32(sum));
}

}  // namespace
}  // namespace isthmus::codecs::avx512

#endif
