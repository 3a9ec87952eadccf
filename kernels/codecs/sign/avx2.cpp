// sign with AVX2: eight elements at a time, whose codes are a byte: their mask of signs.
#if defined(__x86_64__)

#include "codecs/blocks_avx2.hpp"
#include "codecs/moments.hpp"
#include "codecs/sign/sign.hpp"

namespace isthmus::codecs::signs {
namespace {

constexpr std::size_t parts = block_elements / avx2::lanes;

[[ISTHMUS_AVX2_INLINE]] inline Bf16 scale_of(const float* p, std::uint32_t filled,
                                             std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, mean_bits);
  const __m256 factor = _mm256_set1_ps(point.factor);
  __m256i sum = _mm256_setzero_si256();
  for (std::size_t i = 0; i < parts; ++i)
    sum = _mm256_add_epi32(sum, avx2::fixed(_mm256_loadu_ps(p + 8 * i), factor));
  return std::min(cap, mean_magnitude(avx2::sum_of_lanes(sum), filled, point.back));
}

[[ISTHMUS_AVX2_INLINE]] inline __m256 values_of(int negative, __m256 scale) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i own = _mm256_and_si256(_mm256_set1_epi32(negative), bits);
  const __m256 set = _mm256_castsi256_ps(_mm256_cmpeq_epi32(own, bits));
  return _mm256_xor_ps(scale, _mm256_and_ps(set, _mm256_set1_ps(-0.0F)));
}

template <class Mode>
[[ISTHMUS_AVX2]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  alignas(32) float p[block_elements];
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    const std::uint32_t largest = avx2::load<Mode>(streams, begin, block_elements, p);
    const Bf16 scale = scale_of(p, extent.filled, largest);
    const bool has_codes = scale != 0 && scale != nan_scale;
    const __m256 value = _mm256_set1_ps(value_of(scale));
    store_at(to.at[0], block, scale);
    for (std::size_t i = 0; i < parts; ++i) {
      const __m256 own = _mm256_loadu_ps(p + 8 * i);
      const int codes = has_codes ? _mm256_movemask_ps(own) : 0;
      to.at[1][block * code_bytes + i] = static_cast<std::byte>(codes);
      if constexpr (Mode::feedback != FeedbackMode::none)
        avx2::keep<Mode>(streams, begin + 8 * i, _mm256_sub_ps(own, values_of(codes, value)));
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
    const __m256 scale = _mm256_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < parts; ++i) {
      const int codes = std::to_integer<int>(from.at[1][block * code_bytes + i]);
      _mm256_storeu_ps(out + block * block_elements + 8 * i, values_of(codes, scale));
    }
  }
}

[[ISTHMUS_AVX2]] void decode_add(const ConstWire& from, std::size_t blocks, float weight,
                                 float* sum) {
  const __m256 weights = _mm256_set1_ps(weight);
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m256 scale = _mm256_set1_ps(value_of(load_at<Bf16>(from.at[0], block)));
    for (std::size_t i = 0; i < parts; ++i) {
      const int codes = std::to_integer<int>(from.at[1][block * code_bytes + i]);
      float* const at = sum + block * block_elements + 8 * i;
      const __m256 product = _mm256_mul_ps(weights, values_of(codes, scale));
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

}  // namespace isthmus::codecs::signs

#endif
