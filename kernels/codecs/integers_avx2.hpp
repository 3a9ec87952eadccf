// int8 and int4 with AVX2: 32 elements a turn. For the sources of those folders only.
#pragma once

#if defined(__x86_64__)

#include "codecs/integers.hpp"
#include "rng/philox_avx2.hpp"

namespace isthmus::codecs::integers {
namespace {

// Integers of eight elements.
template <int limit, bool dithered>
[[ISTHMUS_AVX2_INLINE]] inline __m256i code_lanes(__m256 p, __m256 inverse, __m128i half) {
  const __m256 scaled = _mm256_mul_ps(p, inverse);
  __m256i code;
  if constexpr (dithered) {
    const __m256 unit =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(half)), _mm256_set1_ps(0x1p-16F));
    code = _mm256_cvttps_epi32(_mm256_floor_ps(_mm256_add_ps(scaled, unit)));
  } else {
    code = _mm256_cvtps_epi32(scaled);  // to nearest, as the processor is left by everybody
  }
  return _mm256_max_epi32(_mm256_min_epi32(code, _mm256_set1_epi32(limit)),
                          _mm256_set1_epi32(-limit));
}

// 32 integers to bytes, in order.
[[ISTHMUS_AVX2_INLINE]] inline __m256i byte_lanes(const __m256i codes[4]) {
  const __m256i mixed = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                           _mm256_packs_epi32(codes[2], codes[3]));
  return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

template <int limit>
[[ISTHMUS_AVX2_INLINE]] inline void store_lanes(const __m256i codes[4], std::byte* to) {
  const __m256i bytes = byte_lanes(codes);
  if constexpr (limit == 127) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  } else {
    const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
    // Each pair of bytes becomes first + 16 * second.
    const __m256i pairs = _mm256_maddubs_epi16(low, _mm256_set1_epi16(0x1001));
    const __m128i packed =
        _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
  }
}

// Eight elements' integers: those from `index` on in a block's codes.
template <int limit>
[[ISTHMUS_AVX2_INLINE]] inline __m256i load_lanes(const std::byte* from, std::size_t index) {
  if constexpr (limit == 127) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + index)));
  } else {
    // Every lane moves its nibble of the one word to the top and back.
    const __m256i word = _mm256_set1_epi32(load_at<int>(from + index / 2, 0));
    const __m256i shift = _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    return _mm256_srai_epi32(_mm256_sllv_epi32(word, shift), 28);
  }
}

template <int limit, class Mode>
[[ISTHMUS_AVX2]] void encode_blocks_avx2(const Source& from, std::size_t blocks, const Wire& to) {
  const Streams streams = streams_of(from);
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  constexpr std::size_t turn = 32;
  alignas(32) float p[block_elements];
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t begin = block * block_elements;
    const Scale scale = scale_of<limit>(avx2::load<Mode>(streams, begin, block_elements, p));
    store_at(to.at[0], block, scale.bits);
    const __m256 inverse = _mm256_set1_ps(scale.inverse);
    const __m256 value = _mm256_set1_ps(scale.value);
    rng::WideWords halves{};
    for (std::size_t i = 0; i < block_elements; i += turn) {
      if (Mode::dithered && i % 64 == 0) {
        halves = rng::halves(*from.dither,
                             from.dither->group + static_cast<std::uint32_t>((begin + i) / 8));
      }
      __m256i codes[4];
      for (std::size_t k = 0; k < 4; ++k) {
        const __m256i two = halves.word[i % 64 / 16 + k / 2];
        const __m128i half =
            k % 2 == 0 ? _mm256_castsi256_si128(two) : _mm256_extracti128_si256(two, 1);
        codes[k] = code_lanes<limit, Mode::dithered>(_mm256_load_ps(p + i + 8 * k), inverse, half);
        if (!scale.plain) [[unlikely]]
          codes[k] = _mm256_setzero_si256();
        if constexpr (Mode::feedback != FeedbackMode::none) {
          const __m256 decoded = _mm256_mul_ps(_mm256_cvtepi32_ps(codes[k]), value);
          avx2::keep<Mode>(streams, begin + i + 8 * k,
                           _mm256_sub_ps(_mm256_load_ps(p + i + 8 * k), decoded));
        }
      }
      store_lanes<limit>(codes, to.at[1] + block * code_bytes + i * code_bytes / block_elements);
    }
  }
}

template <int limit>
[[ISTHMUS_AVX2]] void decode_avx2(const ConstWire& from, std::size_t blocks, float* out) {
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m256 scale = _mm256_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    const std::byte* codes = from.at[1] + block * code_bytes;
    for (std::size_t i = 0; i < block_elements; i += avx2::lanes) {
      const __m256 code = _mm256_cvtepi32_ps(load_lanes<limit>(codes, i));
      _mm256_storeu_ps(out + block * block_elements + i, _mm256_mul_ps(code, scale));
    }
  }
}

template <int limit>
[[ISTHMUS_AVX2]] void decode_add_avx2(const ConstWire& from, std::size_t blocks, float weight,
                                      float* sum) {
  constexpr std::size_t code_bytes = limit == 127 ? 128 : 64;
  const __m256 weights = _mm256_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m256 scale = _mm256_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    const std::byte* codes = from.at[1] + block * code_bytes;
    for (std::size_t i = 0; i < block_elements; i += avx2::lanes) {
      float* const at = sum + block * block_elements + i;
      const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(load_lanes<limit>(codes, i)), scale);
      _mm256_storeu_ps(at, _mm256_add_ps(_mm256_loadu_ps(at), _mm256_mul_ps(weights, value)));
    }
  }
}

template <int limit>
struct Avx2Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks_avx2<limit, Mode>(from, extent.blocks, to);
  }
};

}  // namespace
}  // namespace isthmus::codecs::integers

#endif
