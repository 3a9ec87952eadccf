// int8 and int4 with AVX-512: a block of 128 elements is eight registers. For the sources of those
// folders only.
//
// The target is set on each function, and all are in an anonymous namespace: inline functions of
// headers compiled for AVX-512 would otherwise be the ones that the whole program links.
#pragma once

#if defined(__x86_64__)

#include "codecs/blocks_avx512.hpp"
#include "codecs/integers.hpp"
#include "rng/philox_avx512.hpp"

namespace isthmus::codecs::integers {
namespace {

// Integers of the elements, in order: 16 a register.
template <int limit, bool dithered>
[[ISTHMUS_AVX512_INLINE]] inline void codes_of(const avx512::Block& p, float inverse,
                                               const rng::WideWords& halves, __m512i codes[8]) {
  const __m512 factor = _mm512_set1_ps(inverse);
  const __m512i most = _mm512_set1_epi32(limit);
  const __m512i least = _mm512_set1_epi32(-limit);
  for (int i = 0; i < 8; ++i) {
    const __m512 scaled = _mm512_mul_ps(p.part[i], factor);
    __m512i code;
    if constexpr (dithered) {
      const __m256i half = i % 2 == 0 ? _mm512_castsi512_si256(halves.word[i / 2])
                                      : _mm512_extracti64x4_epi64(halves.word[i / 2], 1);
      const __m512 unit =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(half)), _mm512_set1_ps(0x1p-16F));
      code = _mm512_cvt_roundps_epi32(_mm512_add_ps(scaled, unit),
                                      _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    } else {
      code = _mm512_cvt_roundps_epi32(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    codes[i] = _mm512_max_epi32(_mm512_min_epi32(code, most), least);
  }
}

// 64 integers to bytes, in order.
[[ISTHMUS_AVX512_INLINE]] inline __m512i bytes_of(const __m512i codes[4]) {
  const __m512i low = _mm512_packs_epi32(codes[0], codes[1]);
  const __m512i high = _mm512_packs_epi32(codes[2], codes[3]);
  const __m512i mixed = _mm512_packs_epi16(low, high);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, mixed);
}

[[ISTHMUS_AVX512_INLINE]] inline __m256i nibbles_of(__m512i bytes) {
  const __m512i low = _mm512_and_si512(bytes, _mm512_set1_epi8(15));
  // Each pair of bytes becomes first + 16 * second.
  const __m512i pairs = _mm512_maddubs_epi16(low, _mm512_set1_epi16(0x1001));
  return _mm512_cvtepi16_epi8(pairs);
}

template <int limit>
[[ISTHMUS_AVX512_INLINE]] inline void store_codes(const __m512i codes[8], std::byte* to) {
  const __m512i first = bytes_of(codes);
  const __m512i second = bytes_of(codes + 4);
  if constexpr (limit == 127) {
    _mm512_storeu_si512(to, first);
    _mm512_storeu_si512(to + 64, second);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), nibbles_of(first));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), nibbles_of(second));
  }
}

// Sixteen elements' integers.
template <int limit>
[[ISTHMUS_AVX512_INLINE]] inline __m512i load_codes(const std::byte* from, int part) {
  if constexpr (limit == 127) {
    return _mm512_cvtepi8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * part)));
  } else {
    // Every lane gets the word that holds its nibble, and moves it to the top and back.
    const __m512i words = _mm512_loadu_si512(from);
    const __m512i of_lane = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i word =
        _mm512_permutexvar_epi32(_mm512_add_epi32(of_lane, _mm512_set1_epi32(2 * part)), words);
    const __m512i shift =
        _mm512_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
    return _mm512_srai_epi32(_mm512_sllv_epi32(word, shift), 28);
  }
}

template <int limit, class Mode>
[[ISTHMUS_AVX512]] void encode_blocks(const Source& from, std::size_t blocks, const Wire& to) {
  const Streams streams = streams_of(from);
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t begin = block * block_elements;
    avx512::Block p = avx512::load<Mode>(streams, begin);
    const Scale scale = scale_of<limit>(avx512::largest(p));
    store_at(to.at[0], block, scale.bits);
    rng::WideWords halves{};
    if constexpr (Mode::dithered) {
      halves =
          rng::halves(*from.dither, from.dither->group + static_cast<std::uint32_t>(begin / 8));
    }
    __m512i codes[8];
    codes_of<limit, Mode::dithered>(p, scale.inverse, halves, codes);
    if (!scale.plain) [[unlikely]] {
      for (__m512i& code : codes) code = _mm512_setzero_si512();
    }
    store_codes<limit>(codes, to.at[1] + block * code_bytes);
    if constexpr (Mode::feedback != FeedbackMode::none) {
      const __m512 value = _mm512_set1_ps(scale.value);
      for (int i = 0; i < 8; ++i) {
        p.part[i] = _mm512_sub_ps(p.part[i], _mm512_mul_ps(_mm512_cvtepi32_ps(codes[i]), value));
      }
      avx512::keep<Mode>(streams, begin, p);
    }
  }
}

template <int limit>
[[ISTHMUS_AVX512]] void decode_avx512(const ConstWire& from, std::size_t blocks, float* out) {
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m512 scale = _mm512_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    const std::byte* codes = from.at[1] + block * code_bytes;
    for (int i = 0; i < 8; ++i) {
      const __m512 code = _mm512_cvtepi32_ps(load_codes<limit>(codes, i));
      _mm512_storeu_ps(out + block * block_elements + 16 * i, _mm512_mul_ps(code, scale));
    }
  }
}

template <int limit>
[[ISTHMUS_AVX512]] void decode_add_avx512(const ConstWire& from, std::size_t blocks, float weight,
                                          float* sum) {
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  const __m512 weights = _mm512_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m512 scale = _mm512_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    const std::byte* codes = from.at[1] + block * code_bytes;
    for (int i = 0; i < 8; ++i) {
      float* const at = sum + block * block_elements + 16 * i;
      const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(load_codes<limit>(codes, i)), scale);
      _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), _mm512_mul_ps(weights, value)));
    }
  }
}

template <int limit>
struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<limit, Mode>(from, extent.blocks, to);
    avx512::settle<Mode>();
  }
};

}  // namespace
}  // namespace isthmus::codecs::integers

#endif
