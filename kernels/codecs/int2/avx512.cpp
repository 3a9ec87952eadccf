// int2 with AVX-512: a block of 128 elements is eight registers, and a register's codes are a word
// of two interleaved masks.
#if defined(__x86_64__)

#include "codecs/blocks_avx512.hpp"
#include "codecs/int2/int2.hpp"
#include "codecs/moments.hpp"

namespace isthmus::codecs::gaussian {
namespace {

constexpr unsigned large_bits = 0x55555555U;
constexpr unsigned negative_bits = 0xaaaaaaaaU;

[[ISTHMUS_AVX512_INLINE]] inline Bf16 scale_of(const avx512::Block& p, std::uint32_t filled,
                                               std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, square_bits);
  const std::uint32_t sum = avx512::sum_of_squares(p, point.factor);
  return std::min(two_bits::cap, root_mean_square(sum, filled, point.back));
}

// The sixteen elements that a word of codes stands for.
[[ISTHMUS_AVX512_INLINE]] inline __m512 values_of(unsigned codes, __m512 small, __m512 large) {
  const auto is_large = static_cast<__mmask16>(_pext_u32(codes, large_bits));
  const auto is_negative = static_cast<__mmask16>(_pext_u32(codes, negative_bits));
  const __m512 value = _mm512_mask_blend_ps(is_large, small, large);
  return _mm512_mask_xor_ps(value, is_negative, value, _mm512_set1_ps(-0.0F));
}

template <class Mode>
[[ISTHMUS_AVX512]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    avx512::Block p = avx512::load<Mode>(from, begin);
    const Bf16 scale = scale_of(p, extent.filled, avx512::largest(p));
    const float value = value_of(scale);
    const bool has_codes = two_bits::has_codes(scale);
    store_at(to.at[0], block, scale);
    const __m512 limit = _mm512_set1_ps(two_bits::threshold * value);
    const __m512 small = _mm512_set1_ps(two_bits::small_level * value);
    const __m512 large = _mm512_set1_ps(two_bits::large_level * value);
    for (std::size_t i = 0; i < 8; ++i) {
      const __mmask16 is_large =
          _mm512_cmp_ps_mask(_mm512_abs_ps(p.part[i]), limit, _CMP_GT_OQ);
      const __mmask16 is_negative = _mm512_movepi32_mask(_mm512_castps_si512(p.part[i]));
      const unsigned word = _pdep_u32(is_large, large_bits) | _pdep_u32(is_negative, negative_bits);
      const unsigned codes = has_codes ? word : 0;
      store_at(to.at[1] + block * code_bytes, i, codes);
      if constexpr (Mode::feedback != FeedbackMode::none) {
        p.part[i] = _mm512_sub_ps(p.part[i], values_of(codes, small, large));
      }
    }
    avx512::keep<Mode>(from, begin, p);
  }
}

struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<Mode>(from, extent, to);
  }
};

[[ISTHMUS_AVX512]] void decode(const ConstWire& from, std::size_t blocks, float* out) {
  for (std::size_t block = 0; block < blocks; ++block) {
    const float scale = value_of(load_at<Bf16>(from.at[0], block));
    const __m512 small = _mm512_set1_ps(two_bits::small_level * scale);
    const __m512 large = _mm512_set1_ps(two_bits::large_level * scale);
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<unsigned>(from.at[1] + block * code_bytes, i);
      _mm512_storeu_ps(out + block * block_elements + 16 * i, values_of(codes, small, large));
    }
  }
}

[[ISTHMUS_AVX512]] void decode_add(const ConstWire& from, std::size_t blocks, float weight,
                                   float* sum) {
  const __m512 weights = _mm512_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const float scale = value_of(load_at<Bf16>(from.at[0], block));
    const __m512 small = _mm512_set1_ps(two_bits::small_level * scale);
    const __m512 large = _mm512_set1_ps(two_bits::large_level * scale);
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<unsigned>(from.at[1] + block * code_bytes, i);
      float* const at = sum + block * block_elements + 16 * i;
      const __m512 product = _mm512_mul_ps(weights, values_of(codes, small, large));
      _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), product));
    }
  }
}

}  // namespace

void use_avx512(Codec& codec) {
  codec.encode = encode_in_mode<Encoder, false>;
  codec.decode = decode;
  codec.decode_add = decode_add;
}

}  // namespace isthmus::codecs::gaussian

#endif
