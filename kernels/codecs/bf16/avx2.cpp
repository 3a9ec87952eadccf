// bf16 with AVX2: 16 elements a turn, the rest one by one. The target is set on each function,
// never for the file: inline functions of headers compiled for AVX2 would otherwise be the ones
// that the whole program links.
#if defined(__x86_64__)

#include <immintrin.h>

#include "codecs/bf16/bf16.hpp"

namespace isthmus::codecs::bfloat16 {
namespace {

constexpr std::size_t lanes = 8;
constexpr std::size_t stride = 2 * lanes;

// bits_of for eight elements, each in the low half of its 32-bit lane.
[[gnu::target("avx2")]] __m256i bits_of_lanes(__m256 values) {
  const __m256i words = _mm256_castps_si256(values);
  const __m256i upper = _mm256_srli_epi32(words, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(words, bias), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}

[[gnu::target("avx2")]] __m256 load_lanes(const std::byte* wire) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(wire));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

[[gnu::target("avx2")]] void encode_lanes(const float* in, std::byte* wire, std::size_t n) {
  std::size_t i = 0;
  for (; i + stride <= n; i += stride) {
    const __m256i low = bits_of_lanes(_mm256_loadu_ps(in + i));
    const __m256i high = bits_of_lanes(_mm256_loadu_ps(in + i + lanes));
    // packus works within 128-bit halves; the permutation puts the quarters back in order.
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(wire + i * sizeof(Bits)), packed);
  }
  for (; i < n; ++i) store(wire, i, bits_of(in[i]));
}

[[gnu::target("avx2")]] void decode_lanes(const std::byte* wire, float* out, std::size_t n) {
  std::size_t i = 0;
  for (; i + stride <= n; i += stride) {
    const std::byte* from = wire + i * sizeof(Bits);
    const __m256 low = load_lanes(from);
    const __m256 high = load_lanes(from + lanes * sizeof(Bits));
    _mm256_storeu_ps(out + i, low);
    _mm256_storeu_ps(out + i + lanes, high);
  }
  for (; i < n; ++i) out[i] = value_of(load(wire, i));
}

[[gnu::target("avx2")]] __m256 add_product(__m256 sum, __m256 weight, __m256 value) {
  return _mm256_add_ps(sum, _mm256_mul_ps(weight, value));
}

[[gnu::target("avx2")]] void decode_add_lanes(const std::byte* wire, float weight, float* sum,
                                              std::size_t n) {
  const __m256 weights = _mm256_set1_ps(weight);
  std::size_t i = 0;
  for (; i + stride <= n; i += stride) {
    const std::byte* from = wire + i * sizeof(Bits);
    const __m256 low = load_lanes(from);
    const __m256 high = load_lanes(from + lanes * sizeof(Bits));
    _mm256_storeu_ps(sum + i, add_product(_mm256_loadu_ps(sum + i), weights, low));
    _mm256_storeu_ps(sum + i + lanes, add_product(_mm256_loadu_ps(sum + i + lanes), weights, high));
  }
  for (; i < n; ++i) sum[i] += weight * value_of(load(wire, i));
}

}  // namespace

void encode_avx2(const Source& from, Extent extent, const Wire& to) {
  encode_lanes(from.values, to.at[0], extent.blocks);
}

void decode_avx2(const ConstWire& from, std::size_t blocks, float* out) {
  decode_lanes(from.at[0], out, blocks);
}

void decode_add_avx2(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  decode_add_lanes(from.at[0], weight, sum, blocks);
}

}  // namespace isthmus::codecs::bfloat16

#endif
