// int2 with AVX2: eight elements at a time, whose codes are two bytes.
#if defined(__x86_64__)

#include <array>

#include "codecs/blocks_avx2.hpp"
#include "codecs/int2/int2.hpp"
#include "codecs/moments.hpp"

namespace isthmus::codecs::gaussian {
namespace {

constexpr std::size_t parts = block_elements / avx2::lanes;

// The bits of a byte at the even places of two.
constexpr std::array<std::uint16_t, 256> spread = [] {
  std::array<std::uint16_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned found = 0;
    for (unsigned i = 0; i < 8; ++i) found |= (byte >> i & 1U) << (2 * i);
    table[byte] = static_cast<std::uint16_t>(found);
  }
  return table;
}();

[[ISTHMUS_AVX2_INLINE]] inline Bf16 scale_of(const float* p, std::uint32_t filled,
                                             std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, square_bits);
  const __m256 factor = _mm256_set1_ps(point.factor);
  __m256i sum = _mm256_setzero_si256();
  for (std::size_t i = 0; i < parts; ++i) {
    const __m256i n = avx2::fixed(_mm256_loadu_ps(p + 8 * i), factor);
    sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(n, n));
  }
  return std::min(two_bits::cap, root_mean_square(avx2::sum_of_lanes(sum), filled, point.back));
}

// The levels of a scale.
struct Levels {
  __m256 limit, small, large;
};

[[ISTHMUS_AVX2_INLINE]] inline Levels levels_of(float scale) {
  return {_mm256_set1_ps(two_bits::threshold * scale),
          _mm256_set1_ps(two_bits::small_level * scale),
          _mm256_set1_ps(two_bits::large_level * scale)};
}

[[ISTHMUS_AVX2_INLINE]] inline unsigned codes_of(const Levels& levels, __m256 p) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), p);
  const __m256 large = _mm256_cmp_ps(magnitude, levels.limit, _CMP_GT_OQ);
  const auto large_mask = static_cast<std::size_t>(_mm256_movemask_ps(large));
  const auto negative_mask = static_cast<std::size_t>(_mm256_movemask_ps(p));
  return spread[large_mask] | static_cast<unsigned>(spread[negative_mask]) << 1;
}

[[ISTHMUS_AVX2_INLINE]] inline __m256 values_of(const Levels& levels, unsigned codes) {
  const __m256i places = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  const __m256i own = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(codes)), places);
  const __m256 large = _mm256_castsi256_ps(_mm256_slli_epi32(own, 31));
  const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(own, 1), 31);
  return _mm256_xor_ps(_mm256_blendv_ps(levels.small, levels.large, large),
                       _mm256_castsi256_ps(sign));
}

template <class Mode>
[[ISTHMUS_AVX2]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  alignas(32) float p[block_elements];
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    const std::uint32_t largest = avx2::load<Mode>(streams, begin, block_elements, p);
    const Bf16 scale = scale_of(p, extent.filled, largest);
    const Levels levels = levels_of(value_of(scale));
    const bool has_codes = two_bits::has_codes(scale);
    store_at(to.at[0], block, scale);
    for (std::size_t i = 0; i < parts; ++i) {
      const __m256 own = _mm256_loadu_ps(p + 8 * i);
      const unsigned codes = has_codes ? codes_of(levels, own) : 0;
      store_at(to.at[1] + block * code_bytes, i, static_cast<std::uint16_t>(codes));
      if constexpr (Mode::feedback != FeedbackMode::none)
        avx2::keep<Mode>(streams, begin + 8 * i, _mm256_sub_ps(own, values_of(levels, codes)));
    }
  }
}

struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<Mode>(from, extent, to);
  }
};

[[ISTHMUS_AVX2]] void decode(const ConstWire& from, std::size_t blocks, float* out) {
  for (std::size_t block = 0; block < blocks; ++block) {
    const Levels levels = levels_of(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < parts; ++i) {
      const unsigned codes = load_at<std::uint16_t>(from.at[1] + block * code_bytes, i);
      _mm256_storeu_ps(out + block * block_elements + 8 * i, values_of(levels, codes));
    }
  }
}

[[ISTHMUS_AVX2]] void decode_add(const ConstWire& from, std::size_t blocks, float weight,
                                 float* sum) {
  const __m256 weights = _mm256_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const Levels levels = levels_of(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < parts; ++i) {
      const unsigned codes = load_at<std::uint16_t>(from.at[1] + block * code_bytes, i);
      float* const at = sum + block * block_elements + 8 * i;
      const __m256 product = _mm256_mul_ps(weights, values_of(levels, codes));
      _mm256_storeu_ps(at, _mm256_add_ps(_mm256_loadu_ps(at), product));
    }
  }
}

}  // namespace

void use_avx2(Codec& codec) {
  codec.encode = encode_in_mode<Encoder, false>;
  codec.decode = decode;
  codec.decode_add = decode_add;
}

}  // namespace isthmus::codecs::gaussian

#endif
