// int2 with AVX-512: a block of 128 elements is eight registers.
#if defined(__x86_64__)

#include "codecs/blocks_avx512.hpp"
#include "codecs/int2/int2.hpp"

namespace isthmus::codecs::gaussian {
namespace {

[[ISTHMUS_AVX512_INLINE]] inline Bf16 scale_of(const avx512::Block& p, std::uint32_t filled,
                                               std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, square_bits);
  const std::uint32_t sum = avx512::sum_of_squares(p, point.factor);
  return std::min(two_bits::cap, root_mean_square(sum, filled, point.back));
}

template <class Mode>
[[ISTHMUS_AVX512]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    avx512::Block p = avx512::load<Mode>(streams, begin);
    const Bf16 scale = scale_of(p, extent.filled, avx512::largest(p));
    const avx512::TwoBits levels(value_of(scale));
    const bool has_codes = two_bits::has_codes(scale);
    store_at(to.at[0], block, scale);
    for (std::size_t i = 0; i < 8; ++i) {
      const unsigned codes = has_codes ? levels.codes_of(p.part[i]) : 0;
      store_at(to.at[1] + block * code_bytes, i, codes);
      if constexpr (Mode::feedback != FeedbackMode::none) {
        p.part[i] = _mm512_sub_ps(p.part[i], levels.values_of(codes));
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
    const avx512::TwoBits levels(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<unsigned>(from.at[1] + block * code_bytes, i);
      _mm512_storeu_ps(out + block * block_elements + 16 * i, levels.values_of(codes));
    }
  }
}

[[ISTHMUS_AVX512]] void decode_add(const ConstWire& from, std::size_t blocks, float weight,
                                   float* sum) {
  const __m512 weights = _mm512_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const avx512::TwoBits levels(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < 8; ++i) {
      const auto codes = load_at<unsigned>(from.at[1] + block * code_bytes, i);
      float* const at = sum + block * block_elements + 16 * i;
      const __m512 product = _mm512_mul_ps(weights, levels.values_of(codes));
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
