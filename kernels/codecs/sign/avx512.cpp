// sign with AVX-512: a block of 128 elements is eight registers, and a register's codes are its
// mask of signs.
#if defined(__x86_64__)

#include "codecs/blocks_avx512.hpp"
#include "codecs/moments.hpp"
#include "codecs/sign/sign.hpp"

namespace isthmus::codecs::signs {
namespace {

[[ISTHMUS_AVX512_INLINE]] inline Bf16 scale_of(const avx512::Block& p, std::uint32_t filled,
                                               std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, mean_bits);
  return std::min(cap, mean_magnitude(avx512::sum_fixed(p, point.factor), filled, point.back));
}

[[ISTHMUS_AVX512_INLINE]] inline __m512 values_of(__mmask16 negative, __m512 scale) {
  return _mm512_mask_xor_ps(scale, negative, scale, _mm512_set1_ps(-0.0F));
}

template <class Mode>
[[ISTHMUS_AVX512]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    avx512::Block p = avx512::load<Mode>(streams, begin);
    const Bf16 scale = scale_of(p, extent.filled, avx512::largest(p));
    const bool has_codes = scale != 0 && scale != nan_scale;
    const __m512 value = _mm512_set1_ps(value_of(scale));
    store_at(to.at[0], block, scale);
    for (std::size_t i = 0; i < 8; ++i) {
      const __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(p.part[i]));
      const __mmask16 codes = has_codes ? negative : __mmask16{0};
      store_at(to.at[1] + block * code_bytes, i, codes);
      if constexpr (Mode::feedback != FeedbackMode::none) {
        p.part[i] = _mm512_sub_ps(p.part[i], values_of(codes, value));
      }
    }
    avx512::keep<Mode>(streams, begin, p);
  }
}

struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<Mode>(from, extent, to);
    avx512::settle<Mode>();
  }
};

[[ISTHMUS_AVX512]] void decode(const ConstWire& from, std::size_t blocks, float* out) {
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m512 scale = _mm512_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<__mmask16>(from.at[1] + block * code_bytes, i);
      _mm512_storeu_ps(out + block * block_elements + 16 * i, values_of(codes, scale));
    }
  }
}

[[ISTHMUS_AVX512]] void decode_add(const ConstWire& from, std::size_t blocks, float weight,
                                   float* sum) {
  const __m512 weights = _mm512_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m512 scale = _mm512_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<__mmask16>(from.at[1] + block * code_bytes, i);
      float* const at = sum + block * block_elements + 16 * i;
      const __m512 product = _mm512_mul_ps(weights, values_of(codes, scale));
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

}  // namespace isthmus::codecs::signs

#endif
