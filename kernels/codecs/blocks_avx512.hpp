// A block of 128 elements in eight AVX-512 registers: what is encoded comes in, residuals go out.
// For the sources of kernels/codecs only; everything has internal linkage.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/modes.hpp"
#include "codecs/moments.hpp"

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
[[ISTHMUS_AVX512_INLINE]] inline Block load(const Streams& from, std::size_t begin) {
  Block p;
  for (int i = 0; i < 8; ++i) {
    const std::size_t at = begin + static_cast<std::size_t>(16 * i);
    p.part[i] = _mm512_loadu_ps(from.values + at);
    if constexpr (Mode::feedback == FeedbackMode::f32) {
      const __m512 now = _mm512_loadu_ps(from.now + 4 * at);
      p.part[i] = _mm512_add_ps(p.part[i], _mm512_mul_ps(_mm512_set1_ps(from.beta), now));
    } else if constexpr (Mode::feedback == FeedbackMode::bf16) {
      const __m512 now = widened(from.now + 2 * at);
      p.part[i] = _mm512_add_ps(p.part[i], _mm512_mul_ps(_mm512_set1_ps(from.beta), now));
    }
  }
  return p;
}

// The next residuals, past the caches where their place allows: they are read again a step later,
// and a line that is written whole need not be fetched. settle() must follow the last of them.
template <class Mode>
[[ISTHMUS_AVX512_INLINE]] inline void keep(const Streams& from, std::size_t begin,
                                           const Block& left) {
  constexpr bool wide =
      Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::first_f32;
  const bool aligned = std::bit_cast<std::uintptr_t>(from.next) % 64 == 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t at = begin + 16 * i;
    if constexpr (wide) {
      auto* const to = reinterpret_cast<float*>(from.next + 4 * at);
      aligned ? _mm512_stream_ps(to, left.part[i]) : _mm512_storeu_ps(to, left.part[i]);
    } else if constexpr (Mode::feedback != FeedbackMode::none) {
      auto* const to = reinterpret_cast<__m256i*>(from.next + 2 * at);
      const __m256i half = narrowed(left.part[i]);
      aligned ? _mm256_stream_si256(to, half) : _mm256_storeu_si256(to, half);
    }
  }
}

// What keep() wrote stands for other threads too.
template <class Mode>
void settle() {
  if constexpr (Mode::feedback != FeedbackMode::none) _mm_sfence();
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

// The two-bit levels of a scale; a register's codes are a word of two interleaved masks.
class TwoBits {
 public:
  [[ISTHMUS_AVX512_INLINE]] explicit inline TwoBits(float scale)
      : limit_(_mm512_set1_ps(two_bits::threshold * scale)),
        small_(_mm512_set1_ps(two_bits::small_level * scale)),
        large_(_mm512_set1_ps(two_bits::large_level * scale)) {}

  [[ISTHMUS_AVX512_INLINE]] inline unsigned codes_of(__m512 p) const {
    const __mmask16 large = _mm512_cmp_ps_mask(_mm512_abs_ps(p), limit_, _CMP_GT_OQ);
    const __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(p));
    return _pdep_u32(large, large_bits) | _pdep_u32(negative, negative_bits);
  }

  [[ISTHMUS_AVX512_INLINE]] inline __m512 values_of(unsigned codes) const {
    const auto large = static_cast<__mmask16>(_pext_u32(codes, large_bits));
    const auto negative = static_cast<__mmask16>(_pext_u32(codes, negative_bits));
    const __m512 value = _mm512_mask_blend_ps(large, small_, large_);
    return _mm512_mask_xor_ps(value, negative, value, _mm512_set1_ps(-0.0F));
  }

 private:
  static constexpr unsigned large_bits = 0x55555555U;
  static constexpr unsigned negative_bits = 0xaaaaaaaaU;
  __m512 limit_, small_, large_;
};

// The sum of fixed() of all elements, and of their squares (codecs/moments.hpp).
[[ISTHMUS_AVX512_INLINE]] inline __m512i fixed(__m512 p, __m512 factor) {
  return _mm512_cvt_roundps_epi32(_mm512_mul_ps(_mm512_abs_ps(p), factor),
                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Of unsigned lanes whose sum fits 32 bits; in 64, as the header's own sum of 32 is of signed ones.
[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t sum_of_lanes(__m512i lanes) {
  const __m512i even = _mm512_and_si512(lanes, _mm512_set1_epi64(0xFFFFFFFF));
  const __m512i sums = _mm512_add_epi64(even, _mm512_srli_epi64(lanes, 32));
  return static_cast<std::uint32_t>(_mm512_reduce_add_epi64(sums));
}

[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t sum_fixed(const Block& p, float factor) {
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    sum = _mm512_add_epi32(sum, fixed(p.part[i], _mm512_set1_ps(factor)));
  }
  return sum_of_lanes(sum);
}

[[ISTHMUS_AVX512_INLINE]] inline std::uint32_t sum_of_squares(const Block& p, float factor) {
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    const __m512i n = fixed(p.part[i], _mm512_set1_ps(factor));
    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(n, n));
  }
  return sum_of_lanes(sum);
}

}  // namespace
}  // namespace isthmus::codecs::avx512

#endif
